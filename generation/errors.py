"""What can go wrong while artifacts are made. Each error knows what becomes of the job."""

from __future__ import annotations

from typing import Final

_DETAIL: Final = 300


class GenerationError(Exception):
    """An artifact could not be made. Says what was wrong and what to do.

    Attributes
    ----------
    retriable : bool
        Whether another try, here or elsewhere, may succeed.
    """

    retriable = True

    def __init__(self, message: str, *, retriable: bool | None = None) -> None:
        super().__init__(message)
        if retriable is not None:
            self.retriable = retriable


class Refused(GenerationError):  # noqa: N818 - an outcome, not a failure
    """The model, or a checker, refuses to make or to show this. An outcome of the matchup; no retry helps."""

    retriable = False


class ModelUnavailable(GenerationError):  # noqa: N818 - a state of the worker
    """Another worker may make artifacts of this model, but not the one that raised it: the job goes back unharmed."""


class BudgetSpent(ModelUnavailable):
    """The model's calls of the day are spent; it goes on at `until` (ms since 1970)."""

    def __init__(self, message: str, until: int) -> None:
        super().__init__(message)
        self.until = until


class OutOfMemory(GenerationError):  # noqa: N818 - named after what it is
    """The device had too little memory for what was asked; less at once may fit."""


class Interrupted(GenerationError):  # noqa: N818 - a request that was granted
    """The work was broken off because the worker stops; the job goes back unharmed."""


class WorkerSettingsError(GenerationError):
    """The worker was started with settings that cannot be used."""

    retriable = False


class GatewayError(GenerationError):
    """The gateway could not be reached or did not accept a request."""


def describe_error(error: Exception) -> str:
    """Return an error of a foreign library as one short line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:_DETAIL]}" if lines else type(error).__name__
