"""Dead letters with what they held, as operators see them."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from dashboard.formatting import format_clock, format_day
from dashboard.markup import Markup, TableColumn, escape_text, render_table
from pipeline.contracts.reasons import ADVICE

SHOWN: Final = 20
_PAYLOAD: Final = 600
"""Characters of a record shown at most; the download has all of it."""


def render_letters(letters: pa.Table) -> str:
    """Render dead letters (`DEAD_SCHEMA`), the newest first."""
    columns = (
        TableColumn("Came", wide_only=True),
        TableColumn("Reason"),
        TableColumn("Where", wide_only=True),
        TableColumn("Record"),
    )
    rows: list[list[str | Markup]] = [
        [
            f"{format_day(row['appended_at'])}, {format_clock(row['appended_at'])}",
            row["reason"],
            _place(row),
            Markup(_render_payload(row)),
        ]
        for row in reversed(letters.to_pylist())
    ]
    return f'<div class="kw-letters">{render_table(columns, rows, "Dead letters with what they held")}</div>'


def _place(row: dict[str, object]) -> str:
    return f"{row['topic']}/{row['partition']} at {row['offset']}" + (f".{row['index']}" if row["index"] else "")


def _render_payload(row: dict[str, object]) -> str:
    payload = row["payload"]
    text = payload.decode("utf-8", "replace") if isinstance(payload, bytes) else ""
    cut = "…" if len(text) > _PAYLOAD else ""
    why = f"{escape_text(str(row['detail']))}<br>" if row["detail"] else ""
    return f"{why}<code>{escape_text(text[:_PAYLOAD])}{cut}</code>"


def list_reasons() -> list[str]:
    """Return the reasons that records are refused for."""
    return [reason.value for reason in ADVICE]


def tabulate_letters(letters: pa.Table) -> pa.Table:
    """Return dead letters for a download: payloads as text, with what is no UTF-8 replaced."""
    texts = [None if each is None else each.decode("utf-8", "replace") for each in letters["payload"].to_pylist()]
    place = letters.schema.get_field_index("payload")
    return letters.set_column(place, "payload", pa.array(texts, pa.string()))
