"""What can go wrong in an import."""

from __future__ import annotations

from pathlib import Path


class ImportFault(ValueError):  # noqa: N818 - ImportError is Python's own
    """A file that cannot be imported: says which, where in it, what was wrong; no retry helps."""

    retriable = False

    def __init__(self, path: Path, line: int | None, message: str) -> None:
        super().__init__(f"{path}:{line}: {message}" if line is not None else f"{path}: {message}")
        self.path = path
        self.line = line
