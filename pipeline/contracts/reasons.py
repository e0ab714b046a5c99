"""Why a record could not be used. The order of the members is their precedence: the first that applies is given."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Reason of a dead letter (or, for `DUPLICATE`, of a dropped repeat)."""

    TOO_LARGE = "too_large"
    NOT_JSON = "not_json"
    SCHEMA = "schema"
    UNKNOWN_ARENA = "unknown_arena"
    UNKNOWN_MODEL = "unknown_model"
    BAD_RANKS = "bad_ranks"
    BAD_TIME = "bad_time"
    TOO_OLD = "too_old"
    DUPLICATE = "duplicate"
    BAD_TOKEN = "bad_token"
    ALREADY_VOTED = "already_voted"

    @property
    def code(self) -> int:
        """Small integer used in batch columns: 1 for the first reason; 0 means no fault."""
        return REASON_CODES[self]


REASON_CODES: dict[Reason, int] = {reason: code for code, reason in enumerate(Reason, start=1)}
REASONS_BY_CODE: dict[int, Reason] = {code: reason for reason, code in REASON_CODES.items()}

MAX_VOTE_BYTES = 64 * 1024
MAX_RECORD_BYTES = 1024 * 1024
MAX_AHEAD_MS = 5 * 60 * 1000
