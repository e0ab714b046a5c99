"""Votes to wire bytes, many at a time.

One bytes template a batch and ready-made pieces for everything that repeats (models, ranks, voters): several
times as fast as an encoder that is called once a vote. The bytes are those that `contracts.vote.encode_vote`
would write.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.ballot import MODE_NAMES, Mode
from pipeline.contracts.vote import SCHEMA_VERSION
from producers.simulate.ballots import NO_RANK, Answers


@dataclass(frozen=True, slots=True)
class CastVotes:
    """Everything in n votes, as columns.

    Attributes
    ----------
    vote_ids, matchup_ids, voters : list of bytes
    times, durations : int64 (n,)
        Both in ms.
    models : int64 (n, k)
        Indices in slot order.
    answers : Answers
    contexts : list of bytes
        What follows from the matchup: see `encode_context`.
    """

    vote_ids: Sequence[bytes]
    matchup_ids: Sequence[bytes]
    times: NDArray[np.int64]
    durations: NDArray[np.int64]
    voters: Sequence[bytes]
    models: NDArray[np.int64]
    answers: Answers
    contexts: Sequence[bytes]


def encode_votes(votes: CastVotes, arena: str, model_ids: Sequence[str]) -> list[bytes]:
    """Encode each vote as a wire record. All strings are ids, so that none needs escaping."""
    k = votes.models.shape[1]
    template = (
        f'{{"schema":{SCHEMA_VERSION},"vote_id":"%b","matchup_id":"%b","arena":"{arena}",'
        f'"time":%d,"voter":"%b"%b,"models":[{",".join(["%b"] * k)}]%b%b,"duration_ms":%d}}'
    ).encode()
    quoted = np.array([f'"{model}"'.encode() for model in model_ids], object)
    modes = np.array([_encode_mode(mode) for mode in Mode], object)
    columns = zip(
        votes.vote_ids,
        votes.matchup_ids,
        votes.times.tolist(),
        votes.voters,
        modes[votes.answers.modes].tolist(),
        *(quoted[votes.models[:, slot]].tolist() for slot in range(k)),
        _encode_ranks(votes.answers.ranks),
        votes.contexts,
        votes.durations.tolist(),
        strict=True,
    )
    return [template % row for row in columns]


def encode_context(prompt: str | None, policy: str, propensity: float | None) -> bytes:
    """Encode the optional fields that a vote takes from its matchup, each with a comma before it."""
    fields = [f'"prompt":"{prompt}"'] if prompt is not None else []
    fields.append(f'"policy":"{policy}"')
    if propensity is not None:
        fields.append(f'"propensity":{_encode_float(propensity)}')
    return "".join(f",{field}" for field in fields).encode()


def hex_ids(count: int, rng: np.random.Generator) -> list[bytes]:
    """Draw `count` ids of 128 bits, as 32 hex digits each."""
    digits = rng.bytes(16 * count).hex().encode()
    ids: list[bytes] = np.frombuffer(digits, "S32").tolist()
    return ids


def _encode_float(value: float) -> str:
    return msgspec.json.encode(value).decode()


def _encode_mode(mode: Mode) -> bytes:
    return b"" if mode is Mode.RANK else f',"mode":"{MODE_NAMES[mode]}"'.encode()


def _encode_ranks(ranks: NDArray[np.int8]) -> list[bytes]:
    """Encode the field `ranks` of each vote with a comma before it; nothing where nothing is ranked."""
    k = ranks.shape[1]
    codes = ranks.astype(np.int64) @ (k + 1) ** np.arange(k, dtype=np.int64)
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    pieces = np.array([_encode_rank_row(row) for row in ranks[first].tolist()], object)
    encoded: list[bytes] = pieces[inverse].tolist()
    return encoded


def _encode_rank_row(row: list[int]) -> bytes:
    if not any(row):
        return b""
    values = ",".join("null" if rank == NO_RANK else str(rank) for rank in row)
    return f',"ranks":[{values}]'.encode()
