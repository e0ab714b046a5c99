"""The buttons that download what a page shows: a table as CSV and as Parquet, a chart as a picture.

Streamlit drops what a callable returned after two more runs of any fragment: on a page that draws itself every second
a slow browser asks for it too late. So files are made before a button is pressed, and anew every few seconds.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import streamlit as st

from dashboard.components import read_asset
from dashboard.pace import CHART_EVERY
from dashboard.source import UnavailableError

_PICTURE_HTML: Final = (
    '<button type="button"><svg viewBox="0 0 24 24" aria-hidden="true"><path d="M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4"/>'
    '<circle cx="15.5" cy="9" r="1.25"/></svg><span>Save as PNG</span></button>'
)


@dataclass(frozen=True, slots=True)
class Picture:
    """A chart that can be saved: the key that it is drawn under, a title, and whose the lines are (name, colour)."""

    chart: str
    title: str
    lines: Sequence[tuple[str, str]] = ()


@st.fragment(run_every=CHART_EVERY)
def draw_downloads(
    make_table: Callable[[], pa.Table],
    name: str,
    key: str = "download",
    make_picture: Callable[[], Picture | None] = lambda: None,
) -> None:
    """Draw the buttons for a table, and for the chart that shows it; none while there is nothing to make it of.

    Parameters
    ----------
    make_table, make_picture
        Called again and again. `UnavailableError` and KeyError (a method that is published no more): no buttons.
        No picture while there is no chart.
    name
        Of the files, without the dot and what follows it (`make_file_name`).
    key
        Tells the buttons of a page apart.
    """
    try:
        table, picture = make_table(), make_picture()
    except (UnavailableError, KeyError):
        return
    with st.container(horizontal=True, key=f"{key}-row"):
        _draw_button("Download as CSV", write_csv(table).encode(), f"{name}.csv", "text/csv", f"{key}-csv")
        _draw_button(
            "Download as Parquet",
            write_parquet(table),
            f"{name}.parquet",
            "application/vnd.apache.parquet",
            f"{key}-parquet",
        )
        if picture is not None:
            lines = [{"name": line, "colour": colour} for line, colour in picture.lines]
            data = {"chart": picture.chart, "title": picture.title, "name": f"{name}.png", "keys": lines}
            _picture_button()(key=f"{key}-png", data=data, width="content")


def _draw_button(label: str, data: bytes, file_name: str, mime: str, key: str) -> None:
    st.download_button(
        label,
        data=data,
        file_name=file_name,
        mime=mime,
        on_click="ignore",
        type="tertiary",
        icon=":material/download:",
        key=key,
    )


@cache
def _picture_button() -> Any:
    return st.components.v2.component(
        "kwise_picture", html=_PICTURE_HTML, css=read_asset("picture.css"), js=read_asset("picture.js")
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
