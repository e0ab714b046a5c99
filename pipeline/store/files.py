"""Files that survive a crash: flushed to disk before anything names them, replaced by rename only."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path


def sync_path(path: Path) -> None:
    """Flush a file, or the names in a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> None:
    """Create `path` (its parent exists) so that the name survives a crash; nothing happens if it is there."""
    if not path.is_dir():
        path.mkdir(exist_ok=True)
        sync_path(path.parent)


def move_file(source: Path, target: Path) -> None:
    """Rename a flushed file and flush the name."""
    os.replace(source, target)  # noqa: PTH105 - the fault tests break this very call
    sync_path(target.parent)


def replace_file(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Put `data` at `path` in one step: readers see the old content or the new, never a part.

    ``durable=False`` leaves out the flush: after a power cut the old content may be back.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    if durable:
        move_file(temporary, path)
    else:
        os.replace(temporary, path)  # noqa: PTH105


def link_file(source: Path, target: Path) -> None:
    """Hard-link `source` as `target`; where the file systems differ or know no links, copy and flush."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(source, target)
        sync_path(target)


def remove_file(path: Path) -> None:
    """Delete `path` if it can be done: a leftover is deleted again at the next opening."""
    with contextlib.suppress(OSError):
        path.unlink()
