"""Many votes in one body: checked as the job will, with every fault told, and written as a client of the log would."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.contracts.arena import Registry
from pipeline.contracts.decode_fast import RejectedRow, decode_rows, scan_records
from pipeline.contracts.decode_reference import Rejected, explain_fault
from pipeline.contracts.envelope import check_envelopes, read_envelope
from pipeline.contracts.gateway import RefusedVote
from pipeline.contracts.keyring_file import KeyringFile
from pipeline.contracts.log import ARROW_STREAM
from pipeline.contracts.reasons import REASONS_BY_CODE, Reason
from pipeline.contracts.string_book import make_book
from pipeline.contracts.vote_batch import arrange_votes, encode_rows_singly
from pipeline.contracts.vote_columns import Placed
from producers.gateway.bodies import NDJSON
from producers.gateway.errors import GatewayError


@dataclass(frozen=True, slots=True)
class SortedVotes:
    """Votes of one body: wire JSON and matchup_ids of the good ones, and the others."""

    values: list[bytes]
    keys: list[str]
    refused: list[RefusedVote]


def sort_votes(
    body: bytes, content_type: str, registry: Registry, keys: KeyringFile, *, now: int, max_votes: int
) -> SortedVotes:
    """Take a body apart.

    Parameters
    ----------
    body, content_type
        JSON lines (empty ones are passed over), or an Arrow IPC stream with the columns of `VOTE_SCHEMA`.
    registry, keys
        What is refused early: unknown arenas and models where the registry is closed, and votes without a right
        token where an arena requires one.
    now : int
        Wall clock in ms: what the log's time will be, nearly.

    Raises
    ------
    GatewayError
        413 for too many votes, 415 for another content type, 422 for a body that is no Arrow stream.
    """
    if content_type == NDJSON:
        votes, rejected, values, places = _read_lines(body, now, max_votes)
    elif content_type == ARROW_STREAM:
        votes, rejected, values, places = _read_stream(body, now, max_votes)
    else:
        raise GatewayError(415, "media_type", f"votes come as {NDJSON} or {ARROW_STREAM}")
    refused = [
        RefusedVote(line=places[row.row], reason=row.why.reason.value, detail=row.why.detail) for row in rejected
    ]
    good = np.ones(votes.num_rows, np.bool_)
    rows = votes["offset"].to_numpy()
    for index, reason, detail in _judge(votes, registry, keys):
        good[index] = False
        refused.append(RefusedVote(line=places[int(rows[index])], reason=reason.value, detail=detail))
    refused.sort(key=lambda vote: vote.line)
    kept = votes.filter(pa.array(good))
    matchup_ids = kept["matchup_id"].to_pylist()
    if values is None:
        return SortedVotes(encode_rows_singly(arrange_votes(kept)), matchup_ids, refused)
    return SortedVotes([values[row] for row in rows[good].tolist()], matchup_ids, refused)


_Read = tuple[pa.RecordBatch, list[RejectedRow], list[bytes] | None, list[int]]
"""Votes (`DECODED_SCHEMA`, whose `offset` is the row), rejects, the JSON of each row, and the line of each row."""


def _read_lines(body: bytes, now: int, max_votes: int) -> _Read:
    lines = [(place, line) for place, line in enumerate(body.split(b"\n")) if line.strip()]
    _require_few(len(lines), max_votes)
    values = [line for _, line in lines]
    placed = _place(len(values), now)
    part, book = scan_records(values, placed.appended_at, make_book())
    votes, rejected = decode_rows([part], book, placed)
    return votes, rejected, values, [place for place, _ in lines]


def _read_stream(body: bytes, now: int, max_votes: int) -> _Read:
    envelope = read_envelope(body)
    if isinstance(envelope, Rejected):
        raise GatewayError(422, envelope.reason.value, envelope.detail)
    _require_few(len(envelope), max_votes)
    placed = _place(len(envelope), now)
    part, book = check_envelopes([(0, envelope)], placed.appended_at, make_book(), trust_row_times=False)
    votes, rejected = decode_rows([part], book, placed)
    return votes, rejected, None, list(range(len(envelope)))


def _place(count: int, now: int) -> Placed:
    at: NDArray[np.int64] = np.full(count, now, np.int64)
    return Placed(np.zeros(count, np.int16), np.arange(count), np.zeros(count, np.int32), at)


def _require_few(count: int, most: int) -> None:
    if count > most:
        raise GatewayError(413, "too_large", f"{count} votes in one body; at most {most} are taken")


def _judge(votes: pa.RecordBatch, registry: Registry, keys: KeyringFile) -> list[tuple[int, Reason, str]]:
    """Return what is wrong with votes, by the precedence of reasons: index, reason, detail."""
    arenas = votes["arena"].to_pylist()
    known = {arena: {model.id for model in each.models} for arena, each in registry.arenas.items()}
    requires = {arena for arena, each in registry.arenas.items() if each.arena.require_token}
    models = votes["models"].to_pylist() if registry.closed else [()] * len(arenas)
    faults, token_ok = votes["fault"].to_pylist(), keys.check(votes).to_pylist()
    found = []
    for index, (arena, fault, token) in enumerate(zip(arenas, faults, token_ok, strict=True)):
        if registry.closed and arena not in known:
            found.append((index, Reason.UNKNOWN_ARENA, f"no arena {arena}"))
        elif registry.closed and (missing := [model for model in models[index] if model not in known[arena]]):
            found.append((index, Reason.UNKNOWN_MODEL, f"arena {arena} has no model {', '.join(missing)}"))
        elif fault:
            payload, appended_at = votes["payload"][index].as_py(), votes["appended_at"][index].as_py()
            detail = "see the reason" if payload is None else explain_fault(payload, appended_at)
            found.append((index, REASONS_BY_CODE[fault], detail))
        elif arena in requires and not token:
            found.append((index, Reason.BAD_TOKEN, f"arena {arena} requires a token, and this is none of ours"))
    return found
