"""What can go wrong with an artifact. `code` is the word for it on the wire."""

from __future__ import annotations

from typing import ClassVar


class ArtifactError(Exception):
    """The store cannot do what was asked. Says what was wrong and what to do.

    Attributes
    ----------
    code : str
        Short name, the same for ever: clients decide by it.
    retriable : bool
        Whether the same call may succeed later without anybody mending anything.
    """

    code: ClassVar[str] = "artifact"
    retriable: ClassVar[bool] = False


class ArtifactTooLarge(ArtifactError):  # noqa: N818 - what it is, not what went wrong with the program
    """More bytes than the store takes."""

    code = "too_large"


class WrongMedia(ArtifactError):  # noqa: N818 - the same
    """A media type that the store does not take, or bytes that are not what their media type says."""

    code = "wrong_media"


class ArtifactMissing(ArtifactError):  # noqa: N818 - the same
    """No such artifact: it was never here, or retention took it."""

    code = "unknown_artifact"


class ArtifactsUnavailable(ArtifactError):  # noqa: N818 - the standard word for it
    """The folder or object store is out of reach or full for now."""

    code = "artifacts_unavailable"
    retriable = True
