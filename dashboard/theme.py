"""Colours in light and dark: for Streamlit's own widgets, as server options, and for our CSS, as variables.

Contrast against the background, light / dark: text 16 / 15, muted 6 / 7, accent 6 / 8; the colours of lines at least 3.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Palette:
    """One theme."""

    background: str
    surface: str
    text: str
    muted: str
    line: str
    grid: str
    accent: str
    live: str
    quiet: str
    stalled: str
    won: str
    lost: str
    series: tuple[str, ...]


LIGHT: Final = Palette(
    background="#fcfcfb",
    surface="#f2f3f4",
    text="#1a1d21",
    muted="#5a626c",
    line="#dfe2e5",
    grid="#e9ebed",
    accent="#2f55c9",
    live="#17764b",
    quiet="#5a626c",
    stalled="#b1401b",
    won="#3d6ae0",
    lost="#e08a3c",
    series=("#2f55c9", "#c2571a", "#17805a", "#8746c0", "#b52f62"),
)
DARK: Final = Palette(
    background="#111417",
    surface="#1b2025",
    text="#e7eaed",
    muted="#9ba5b0",
    line="#2c333a",
    grid="#22282e",
    accent="#8db0ff",
    live="#62cf9c",
    quiet="#9ba5b0",
    stalled="#ff9d76",
    won="#4a74d6",
    lost="#b0682a",
    series=("#8db0ff", "#f0a45f", "#5fcca0", "#c7a0ff", "#ff92b4"),
)

_COLOURS: Final = (
    "background", "surface", "text", "muted", "line", "grid", "accent", "live", "quiet", "stalled", "won", "lost",
)  # fmt: skip


def theme_options() -> dict[str, str]:
    """Return the themes as Streamlit options, name -> value."""
    options = {"theme.baseRadius": "6px"}
    for base, palette in (("light", LIGHT), ("dark", DARK)):
        options |= {
            f"theme.{base}.primaryColor": palette.accent,
            f"theme.{base}.backgroundColor": palette.background,
            f"theme.{base}.secondaryBackgroundColor": palette.surface,
            f"theme.{base}.textColor": palette.text,
            f"theme.{base}.linkColor": palette.accent,
            f"theme.{base}.borderColor": palette.line,
            f"theme.{base}.chartCategoricalColors": json.dumps(palette.series),
        }
    return options


def css_variables() -> str:
    """Return a CSS rule with all colours, each of which follows the theme that the reader has chosen in Streamlit."""
    # Streamlit sets color-scheme on .stApp, which is what light-dark() asks.
    lines = [f"--kw-{name}: light-dark({getattr(LIGHT, name)}, {getattr(DARK, name)});" for name in _COLOURS]
    return ".stApp { " + " ".join(lines) + " }"
