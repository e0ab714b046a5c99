"""A small archive, written by the real store: what exports are tested on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from pipeline.contracts.ballot import MODE_NAMES
from pipeline.contracts.control import ControlEvent, encode_control
from pipeline.contracts.log import Position, TopicPartition
from pipeline.contracts.store import ARCHIVE_SCHEMA, Commit
from pipeline.contracts.vote import Vote
from pipeline.store.duck_store import open_store

TIME = 1_764_000_000_000


def make_vote(number: int, **fields: Any) -> Vote:
    given: dict[str, Any] = {
        "vote_id": f"{number:032x}",
        "matchup_id": f"m-{number}",
        "arena": "pictures",
        "time": TIME + number,
        "models": ("alpha", "beta", "gamma"),
        "ranks": (2, 1, 3),
    }
    return Vote(**given | fields)


def make_event(kind: Any, **fields: Any) -> ControlEvent:
    return ControlEvent(schema=1, event_id=f"e-{kind}", type=kind, time=TIME, **fields)


def archive_rows(items: list[Vote | ControlEvent]) -> pa.RecordBatch:
    """Return votes and control events as rows of one commit, in this order."""
    rows = []
    for sequence, item in enumerate(items, start=1):
        topic = "votes" if isinstance(item, Vote) else "control"
        row = {"sequence": sequence, "commit": 1, "topic": topic, "partition": 0, "offset": sequence, "index": 0}
        row["appended_at"] = TIME + 1000 + sequence
        if isinstance(item, Vote):
            fields = msgspec.to_builtins(item)
            row |= {name: value for name, value in fields.items() if name != "schema"}
            row["mode"] = MODE_NAMES.index(item.mode)
        else:
            row["event"] = encode_control(item)
        rows.append(row)
    return pa.RecordBatch.from_pylist(rows, schema=ARCHIVE_SCHEMA)


def write_store(folder: Path, items: list[Vote | ControlEvent]) -> Path:
    """Write a store whose archive holds `items`."""
    store = open_store(folder, holder="a test", clock=lambda: TIME)
    try:
        store.stage_archive(archive_rows(items))
        store.commit(
            Commit(
                number=1,
                log_time=TIME,
                sequence=len(items),
                positions={TopicPartition("votes", 0): Position(len(items) + 1)},
            )
        )
        store.publish([])
    finally:
        store.close()
    return folder
