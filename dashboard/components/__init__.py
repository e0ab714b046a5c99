"""Parts of pages that need a script in the browser: each a module's worth of JavaScript and CSS beside this file."""

from __future__ import annotations

from pathlib import Path


def read_asset(name: str) -> str:
    """Return the text of a file in this folder."""
    return (Path(__file__).resolve().parent / name).read_text("utf-8")
