"""The buttons that download what a page shows: a table as CSV and as Parquet, a chart as a picture.

Streamlit's own button has a browser load its file whenever that changes, pressed or not, and forgets one that is made
when it is asked for on pages that draw themselves each second. So ours ask, and have the file sent to the page.
"""

from __future__ import annotations

import base64
import gzip
import io
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Final, Literal

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import streamlit as st

from dashboard.components import read_asset
from dashboard.pace import CHART_EVERY
from dashboard.source import UnavailableError

_TYPES: Final = {"csv": "text/csv", "parquet": "application/vnd.apache.parquet"}
_LEVEL: Final = 1
"""Of gzip: pair tables of thousands of models are a hundred megabytes of text."""
_DOWN: Final = (
    '<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M12 4v11m4.5-4.5L12 15l-4.5-4.5M5 16v3h14v-3"/></svg>'
)
_HTML: Final = (
    '<div><span class="about" hidden></span>'
    f'<button type="button" data-end="csv">{_DOWN}<span>Download as CSV</span></button>'
    f'<button type="button" data-end="parquet">{_DOWN}<span>Download as Parquet</span></button>'
    '<button type="button" class="picture" hidden><svg viewBox="0 0 24 24" aria-hidden="true">'
    '<path d="M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4"/><circle cx="15.5" cy="9" r="1.25"/></svg>'
    "<span>Save as PNG</span></button></div>"
)


@dataclass(frozen=True, slots=True)
class Picture:
    """A chart that can be saved: the key that it is drawn under, a title, and whose the lines are (name, colour)."""

    chart: str
    title: str
    lines: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file that the browser asks for, under the number that it is to come back with."""

    end: Literal["csv", "parquet"]
    number: int


@st.fragment(run_every=CHART_EVERY)
def draw_downloads(
    make_table: Callable[[], pa.Table],
    name: str,
    key: str = "download",
    make_picture: Callable[[], Picture | None] = lambda: None,
    about: str = "",
    only_with_picture: bool = False,
) -> None:
    """Draw the buttons for a table, and for the chart that shows it.

    Parameters
    ----------
    make_table
        Called when a file is asked for.
    name
        Of the files, without the dot and what follows it (`make_file_name`).
    key
        Tells the buttons of a page apart.
    make_picture
        Called again and again; None while there is no chart.
    about
        What is downloaded, where more than one table is above.
    only_with_picture
        Whether there are no buttons for the table either while there is no chart.

    Where `UnavailableError` or KeyError (a method that is published no more) is raised, there are no buttons.
    """
    wanted: Wanted | None = st.session_state.pop(_wanted(key), None)
    try:
        picture = make_picture()
        file = None if wanted is None else _make_file(make_table(), name, wanted)
    except (UnavailableError, KeyError):
        return
    if picture is None and only_with_picture:
        return
    data = {"file": file, "picture": None if picture is None else _describe_picture(picture, name), "about": about}
    _buttons()(key=key, data=data, on_wanted_change=partial(_note_wanted, key))


def _note_wanted(key: str) -> None:
    """Note what was clicked, before the buttons are drawn again; nothing, if no page of ours asks so."""
    with suppress(msgspec.ValidationError):
        st.session_state[_wanted(key)] = msgspec.convert(st.session_state[key].get("wanted"), Wanted)


def _wanted(key: str) -> str:
    return f"{key}:wanted"


def _make_file(table: pa.Table, name: str, wanted: Wanted) -> dict[str, Any]:
    content = write_csv(table).encode() if wanted.end == "csv" else write_parquet(table)
    zipped = base64.b64encode(gzip.compress(content, _LEVEL)).decode()
    return {
        "number": wanted.number,
        "name": f"{name}.{wanted.end}",
        "type": _TYPES[wanted.end],
        "zipped": zipped,
    }


def _describe_picture(picture: Picture, name: str) -> dict[str, Any]:
    keys = [{"name": line, "colour": colour} for line, colour in picture.lines]
    return {"chart": picture.chart, "title": picture.title, "name": f"{name}.png", "keys": keys}


@cache
def _buttons() -> Any:
    return st.components.v2.component(
        "kwise_downloads", html=_HTML, css=read_asset("downloads.css"), js=read_asset("downloads.js")
    )


def write_csv(table: pa.Table) -> str:
    """Write a table as CSV with a header (RFC 4180); what is absent is empty."""
    out = io.BytesIO()
    columns = [_as_cells(column) for column in table.columns]
    options = pa.csv.WriteOptions(include_header=False)
    pa.csv.write_csv(pa.table(columns, names=table.column_names), out, options)
    return ",".join(table.column_names) + "\n" + out.getvalue().decode()


def write_parquet(table: pa.Table) -> bytes:
    """Write a table as Parquet."""
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd")
    return out.getvalue()


def make_file_name(*parts: str) -> str:
    """Return a file name, without its end, that no file system objects to."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", "-".join(parts))


def _as_cells(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return what a spreadsheet can take: lists of texts joined by blanks, and no text that it takes for a formula."""
    if pa.types.is_list(column.type):
        column = pc.binary_join(column, " ")
    return _guard_formulas(column) if pa.types.is_string(column.type) else column


def _guard_formulas(column: pa.ChunkedArray) -> pa.ChunkedArray:
    # Names come from strangers, and a spreadsheet takes what begins like this for a formula.
    is_formula = pc.fill_null(pc.match_substring_regex(column, r"^[=+\-@\t\r]"), False)
    return pc.if_else(is_formula, pc.binary_join_element_wise("'", column, ""), column)
