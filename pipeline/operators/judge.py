"""Judging votes: the part of the precedence of faults that needs the registry, the horizon and the window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.contracts.ballot import MODE_NAMES
from pipeline.contracts.decode_reference import explain_fault
from pipeline.contracts.reasons import REASONS_BY_CODE, Reason
from pipeline.contracts.store import WINDOW_DTYPE
from pipeline.contracts.vote import REJECT_SCHEMA, SCHEMA_VERSION
from pipeline.operators.archive_rows import Repeated, list_bounds, repeated_column
from pipeline.operators.entrants import find_entrants
from pipeline.operators.hashing import hash_strings, seed_strings
from pipeline.operators.registry import LiveRegistry
from pipeline.operators.window import DedupWindow

ACCEPTED = 0


@dataclass(frozen=True, slots=True)
class Judged:
    """Verdict of each of n votes.

    Attributes
    ----------
    verdicts : int8 (n,)
        0 = accepted, else the code of a `Reason`.
    window : array of `WINDOW_DTYPE`
        What the accepted ones add to the window.
    matchup_keys : uint64 (accepted,)
        Half of the hash of each accepted vote's matchup, by which `OpenMatchups` finds it.
    """

    verdicts: NDArray[np.int8]
    window: NDArray[np.void]
    matchup_keys: NDArray[np.uint64]


def judge_votes(votes: pa.RecordBatch, registry: LiveRegistry, window: DedupWindow, *, accept_old: bool) -> Judged:
    """Complete the precedence for `votes` (`DECODED_SCHEMA`), in order; accepted ones enter `window`."""
    arena = repeated_column(votes["arena"])
    verdicts = votes["fault"].to_numpy().astype(np.int8, copy=True)
    if registry.closed:
        _refuse_unknown(votes, arena, registry, verdicts)
    incoming = _window_entries(votes, arena)
    window.admit(incoming, _lacks_token(votes, arena, registry), verdicts, accept_old=accept_old)
    accepted = verdicts == ACCEPTED
    entries = incoming if accepted.all() else incoming[accepted]
    return Judged(verdicts, entries, np.ascontiguousarray(entries["matchup_lo"]))


def _refuse_unknown(votes: pa.RecordBatch, arena: Repeated, registry: LiveRegistry, verdicts: NDArray[np.int8]) -> None:
    offsets, elements = list_bounds(votes["models"])
    entrants = find_entrants(arena, offsets, repeated_column(elements))
    missing = entrants.index_models(registry) < 0
    if missing.any():
        before = np.concatenate([[0], np.cumsum(missing[entrants.numbers])])
        verdicts[before[offsets[1:]] > before[offsets[:-1]]] = Reason.UNKNOWN_MODEL.code
    known = np.array([word in registry.arenas for word in arena.words], np.bool_)
    if not known.all():
        verdicts[~known[arena.codes]] = Reason.UNKNOWN_ARENA.code


def _lacks_token(votes: pa.RecordBatch, arena: Repeated, registry: LiveRegistry) -> NDArray[np.bool_]:
    requires = np.array(
        [word in registry.arenas and registry.arenas[word].arena.require_token for word in arena.words], np.bool_
    )
    if not requires.any():
        return np.zeros(votes.num_rows, np.bool_)
    token_ok = votes["token_ok"].fill_null(False).to_numpy(zero_copy_only=False)
    lacks: NDArray[np.bool_] = requires[arena.codes] & ~token_ok
    return lacks


def _window_entries(votes: pa.RecordBatch, arena: Repeated) -> NDArray[np.void]:
    entries = np.empty(votes.num_rows, WINDOW_DTYPE)
    entries["vote_hi"], entries["vote_lo"] = hash_strings(votes["vote_id"], np.zeros(votes.num_rows, np.uint64))
    seeds = seed_strings(arena.words)[arena.codes]
    entries["matchup_hi"], entries["matchup_lo"] = hash_strings(votes["matchup_id"], seeds)
    entries["time"] = votes["time"].to_numpy()
    return entries


_WIRE_FIELDS = (
    "vote_id", "matchup_id", "arena", "time", "voter", "models", "ranks", "prompt", "policy", "propensity",
    "duration_ms", "token",
)  # fmt: skip


def make_dead_letters(
    votes: pa.RecordBatch,
    verdicts: NDArray[np.int8],
    registry: LiveRegistry,
    topics: list[str],
    partitions: NDArray[np.int32],
) -> pa.Table | None:
    """Return the dead letters (`REJECT_SCHEMA`) among judged votes; None if there are none.

    `topics` and `partitions` belong to the votes' spans. Duplicates are no dead letters.
    """
    refused = (verdicts != ACCEPTED) & (verdicts != Reason.DUPLICATE.code)
    if not refused.any():
        return None
    rows = votes.filter(pa.array(refused))
    spans = rows["span"].to_numpy()
    reasons = [REASONS_BY_CODE[code] for code in verdicts[refused].tolist()]
    listed = rows.select([*_WIRE_FIELDS, "mode", "appended_at"]).to_pylist()
    payloads = [
        payload if payload is not None else _row_as_json(row)
        for payload, row in zip(rows["payload"].to_pylist(), listed, strict=True)
    ]
    details = [
        _explain(reason, row, payload, registry) for reason, row, payload in zip(reasons, listed, payloads, strict=True)
    ]
    return pa.table(
        [
            pa.array([topics[span] for span in spans], pa.string()),
            pa.array(partitions[spans]),
            rows["offset"],
            rows["index"],
            rows["appended_at"],
            pa.array([reason.value for reason in reasons], pa.string()),
            rows["arena"].cast(pa.string()),
            pa.array(details, pa.string()),
            pa.array(payloads, pa.binary()),
        ],
        schema=REJECT_SCHEMA,
    )


def _row_as_json(row: dict[str, Any]) -> bytes:
    wire = {name: row[name] for name in _WIRE_FIELDS if row[name] is not None}
    return msgspec.json.encode({"schema": SCHEMA_VERSION, "mode": MODE_NAMES[row["mode"]], **wire})


def _explain(reason: Reason, row: dict[str, Any], payload: bytes, registry: LiveRegistry) -> str:
    """Say for people why a vote was refused."""
    arena = row["arena"]
    if reason is Reason.UNKNOWN_ARENA:
        return f"no arena {arena}; apply its arena file first"
    if reason is Reason.UNKNOWN_MODEL:
        missing = sorted({model for model in row["models"] if model not in registry.arenas[arena].index})
        return f"arena {arena} has no model {', '.join(missing)}"
    if reason is Reason.TOO_OLD:
        return f"time {row['time']} lies before what the de-duplication window remembers"
    if reason is Reason.BAD_TOKEN:
        return f"arena {arena} requires a token, and this is " + ("none" if row["token"] is None else "not a right one")
    if reason is Reason.ALREADY_VOTED:
        return f"another vote on matchup {row['matchup_id']} was accepted before"
    return explain_fault(payload, row["appended_at"])
