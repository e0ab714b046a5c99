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

ADVICE: dict[Reason, str] = {
    Reason.TOO_LARGE: "over 64 KiB a vote or 1 MiB a record: mend the client",
    Reason.NOT_JSON: "neither JSON nor a readable Arrow stream: mend the client",
    Reason.SCHEMA: "a field is missing or of the wrong type: mend the client, or the records",
    Reason.UNKNOWN_ARENA: "apply the arena's file, then send the records again",
    Reason.UNKNOWN_MODEL: "add the model to its arena, or rename it in the records, then send them again",
    Reason.BAD_RANKS: "the ballot makes no sense: mend the client, or the records",
    Reason.BAD_TIME: "a client's clock is ahead: set it right; send the records again when their time has come",
    Reason.TOO_OLD: "older than the window remembers: a larger --window, or --accept-old for an import",
    Reason.BAD_TOKEN: "a token is missing, expired or forged: look who sends them",
    Reason.ALREADY_VOTED: "a second vote on a matchup: nothing to mend",
}
"""What a dead letter's reason means, and what to do about it."""

MAX_VOTE_BYTES = 64 * 1024
MAX_RECORD_BYTES = 1024 * 1024
MAX_AHEAD_MS = 5 * 60 * 1000
