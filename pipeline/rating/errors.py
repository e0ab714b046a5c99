"""Errors of the rating package. None of them is helped by a retry: the same counts give the same error."""

from __future__ import annotations


class RatingError(Exception):
    """A rating could not be computed. `retriable` says whether trying again may help."""

    retriable: bool = False


class FitError(RatingError):
    """The posterior could not be fitted; nothing of the attempt is published.

    The board stays at its last published fit. What to do: look at the counts that the message names.
    """


class StateError(RatingError):
    """A stored filter state cannot be read: wrong length, wrong header or impossible values."""
