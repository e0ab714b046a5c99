"""The vote on the wire (section 3 of the architecture), one at a time and as Arrow columns."""

from __future__ import annotations

from typing import Final

import msgspec
import pyarrow as pa

SCHEMA_VERSION: Final = 1


class Vote(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One voter's answer to one matchup. `ranks[i]` belongs to `models[i]`; None = unranked."""

    schema: int = msgspec.field(default=SCHEMA_VERSION)
    vote_id: str
    matchup_id: str
    arena: str
    time: int
    voter: str | None = None
    mode: str = "rank"
    models: tuple[str, ...]
    ranks: tuple[int | None, ...] | None = None
    prompt: str | None = None
    policy: str | None = None
    propensity: float | None = None
    duration_ms: int | None = None
    token: str | None = None


_ENCODER = msgspec.json.Encoder()
_SCHEMA_FIRST: Final = b'{"schema":%d,' % SCHEMA_VERSION  # omitted as a default; the other fields follow


def encode_vote(vote: Vote) -> bytes:
    """Encode as a wire record. `schema` is always written."""
    record = _ENCODER.encode(vote)
    return _SCHEMA_FIRST + record[1:] if vote.schema == SCHEMA_VERSION else record


MODELS_TYPE: Final = pa.list_(pa.string())
RANKS_TYPE: Final = pa.list_(pa.int32())

VOTE_SCHEMA: Final = pa.schema(
    [
        ("schema", pa.int32()),
        ("vote_id", pa.string()),
        ("matchup_id", pa.string()),
        ("arena", pa.string()),
        ("time", pa.int64()),
        ("voter", pa.string()),
        ("mode", pa.string()),
        ("models", MODELS_TYPE),
        ("ranks", RANKS_TYPE),
        ("prompt", pa.string()),
        ("policy", pa.string()),
        ("propensity", pa.float64()),
        ("duration_ms", pa.int64()),
        ("token", pa.string()),
    ]
)
"""Columns of votes in Arrow IPC envelopes and Parquet files. Required: those that `Vote` requires."""

# Strings that repeat are dictionary-encoded inside the process: a look-up a batch instead of one a row.
_REPEATED = pa.dictionary(pa.int32(), pa.string())

DECODED_SCHEMA: Final = pa.schema(
    [
        ("span", pa.int16()),
        ("offset", pa.int64()),
        ("index", pa.int32()),
        ("appended_at", pa.int64()),
        ("vote_id", pa.string()),
        ("matchup_id", pa.string()),
        ("arena", _REPEATED),
        ("time", pa.int64()),
        ("voter", pa.string()),
        ("mode", pa.int8()),
        ("models", pa.list_(_REPEATED)),
        ("ranks", RANKS_TYPE),
        ("prompt", _REPEATED),
        ("policy", _REPEATED),
        ("propensity", pa.float64()),
        ("duration_ms", pa.int64()),
        ("token", pa.string()),
        ("fault", pa.int8()),
        ("token_ok", pa.bool_()),
        ("payload", pa.binary()),
    ]
)
"""What Ingest hands to Rate, one row a vote that passed the checks which need no state.

`span` indexes the batch's spans; (`offset`, `index`) is the position; `mode` is `ballot.Mode`; `ranks` as sent (null
where absent or faulty); `fault` is 0 or the code of BAD_RANKS or BAD_TIME;
`token_ok` is null without a token; `payload` is the record as it came, null for a row of an envelope.
"""

REJECT_SCHEMA: Final = pa.schema(
    [
        ("topic", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("index", pa.int32()),
        ("appended_at", pa.int64()),
        ("reason", pa.string()),
        ("arena", pa.string()),
        ("detail", pa.string()),
        ("payload", pa.binary()),
    ]
)
"""A dead letter: where it lay, when it was appended, why it could not be used, and what it was."""
