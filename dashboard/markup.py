"""HTML that all pages have in common. All text from data passes through `escape_text`: strangers write it."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

from dashboard.notices import Notice


def clean_text(text: str) -> str:
    """Return text whose characters that do not print, such as changes of direction, are spaces."""
    return "".join(char if char.isprintable() else " " for char in text)


def escape_text(text: str) -> str:
    """Clean text, and escape it for elements and attributes."""
    return html.escape(clean_text(text))


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure under a page's title: its name, value and unit, and a line of small print.

    `kind` is a state, which has a colour and a mark: live, quiet or stalled.
    """

    name: str
    value: str
    aside: str
    unit: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Markup:
    """HTML that is safe as it is: what it has of data has been escaped."""

    html: str


def render_title(title: str, aside: str = "") -> str:
    """Render the title of a page, and beside it what the page is about."""
    about = f" <small>{escape_text(aside)}</small>" if aside else ""
    return f'<h1 class="kw-title">{escape_text(title)}{about}</h1>'


def render_figures(figures: Sequence[Figure]) -> str:
    """Render figures, four in a row."""
    return f'<dl class="kw-figures">{"".join(map(_render_figure, figures))}</dl>'


def _render_figure(figure: Figure) -> str:
    kind = f" kw-{figure.kind}" if figure.kind else ""
    unit = f" <small>{escape_text(figure.unit)}</small>" if figure.unit else ""
    return (
        f'<div class="kw-figure{kind}"><dt>{escape_text(figure.name)}</dt><dd>{escape_text(figure.value)}{unit}</dd>'
        f'<dd class="kw-aside">{escape_text(figure.aside)}</dd></div>'
    )


def render_notice(notice: Notice) -> str:
    """Render a notice; a warning is announced by screen readers at once."""
    role = "alert" if notice.kind == "warning" else "status"
    command = f"<pre><code>{escape_text(notice.command)}</code></pre>" if notice.command else ""
    return (
        f'<section class="kw-notice kw-notice-{notice.kind}" role="{role}">'
        f"<h2>{escape_text(notice.title)}</h2><p>{escape_text(notice.text)}</p>{command}</section>"
    )


def render_legend(text: str) -> str:
    """Render a line of explanation."""
    return f'<p class="kw-legend">{escape_text(text)}</p>'


def render_section(title: str, aside: str) -> str:
    """Render the heading of a section below the first one."""
    return f'<h2 class="kw-section">{escape_text(title)} <small>{escape_text(aside)}</small></h2>'


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column of a plain table: its heading, whether it holds numbers, and whether a phone leaves it out."""

    heading: str
    is_number: bool = False
    wide_only: bool = False


def render_table(columns: Sequence[TableColumn], rows: Sequence[Sequence[str | Markup]], label: str) -> str:
    """Render a plain table; the first cell of a row is its heading."""

    def kinds(column: TableColumn) -> str:
        names = [name for name, holds in (("kw-count", column.is_number), ("kw-wide", column.wide_only)) if holds]
        return f' class="{" ".join(names)}"' if names else ""

    head = "".join(f'<th scope="col"{kinds(column)}>{escape_text(column.heading)}</th>' for column in columns)
    body = "".join(
        "<tr>"
        + "".join(
            f'<th scope="row"{kinds(column)}>{_render_cell(cell)}</th>'
            if place == 0
            else f"<td{kinds(column)}>{_render_cell(cell)}</td>"
            for place, (column, cell) in enumerate(zip(columns, row, strict=True))
        )
        + "</tr>"
        for row in rows
    )
    return (
        f'<table class="kw-table" aria-label="{escape_text(label)}">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _render_cell(cell: str | Markup) -> str:
    return cell.html if isinstance(cell, Markup) else escape_text(cell)
