"""What can go wrong with an artifact. Each says what was wrong and whether a retry helps."""

from __future__ import annotations


class ArtifactError(Exception):
    """The store cannot do what was asked; no retry helps unless `retriable` says so."""

    retriable = False


class ArtifactTooLarge(ArtifactError):  # noqa: N818 - what it is, not what went wrong with the program
    """More bytes than the store takes."""


class WrongMedia(ArtifactError):  # noqa: N818 - the same
    """A media type that the store does not take, or bytes that are not what their media type says."""


class ArtifactMissing(ArtifactError):  # noqa: N818 - the same
    """No such artifact: it was never here, or retention took it."""


class ArtifactsUnavailable(ArtifactError):  # noqa: N818 - the standard word for it
    """The folder or object store is out of reach or full for now."""

    retriable = True
