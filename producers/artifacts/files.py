"""Files that are written once: a name is there with all its bytes, or not at all. A folder, or an object store.

One library reaches both (`pyarrow.fs`). Bytes go to a temporary name first. In a folder they are flushed and then
linked to the final name, which fails if it is taken, so the first complete write wins, after a crash too. In an object
store they are moved there when their size is right; of two writers at the very same moment the last one wins, which
is the same where names are hashes of the bytes.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from pipeline.eventlog.blocks import sync_folder
from producers.artifacts.errors import ArtifactError, ArtifactsUnavailable

_TEMPORARY = "tmp"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file: its name below the root, its size in bytes, and when it was written, ms since 1970 UTC."""

    name: str
    size: int
    written: int


class WriteOnceFiles:
    """Files below one root, in folders of one level or more. Names are ours: nothing here checks them.

    Parameters
    ----------
    filesystem, root
        As `pyarrow.fs.FileSystem.from_uri` gives them.
    """

    def __init__(self, filesystem: fs.FileSystem, root: str) -> None:
        self._filesystem = filesystem
        self._root = root.rstrip("/")
        self._local = isinstance(filesystem, fs.LocalFileSystem)
        with self._explained("be created"):
            filesystem.create_dir(f"{self._root}/{_TEMPORARY}", recursive=True)

    def write(self, name: str, data: bytes, *, replace: bool = False) -> bool:
        """Make `data` durable as `name`; return False, and leave what is there, if the name is taken.

        ``replace=True`` puts `data` there in one step in any case. Raises `ArtifactsUnavailable`.
        """
        if not replace and self.size(name) is not None:
            return False
        temporary = f"{_TEMPORARY}/{secrets.token_hex(16)}"
        with self._explained("be written"):
            try:
                self._write_whole(temporary, data)
                return self._publish(temporary, name, replace=replace)
            finally:
                with suppress(OSError, pa.ArrowException):  # moved away, or never begun
                    self._filesystem.delete_file(self._path(temporary))

    def read(self, name: str) -> bytes | None:
        """Return the bytes of `name`, or None if there is no such file. Raises `ArtifactsUnavailable`."""
        with self._explained("be read"):
            try:
                with self._filesystem.open_input_stream(self._path(name)) as stream:
                    data: bytes = stream.read()
            except FileNotFoundError:
                return None
        return data

    def size(self, name: str) -> int | None:
        """Return the size of `name` in bytes, or None if there is no such file. Raises `ArtifactsUnavailable`."""
        with self._explained("be looked at"):
            info = self._filesystem.get_file_info(self._path(name))
        return info.size if info.type == fs.FileType.File else None

    def local_path(self, name: str) -> Path | None:
        """Return where `name` would lie on this machine's disk, whether it is there or not; None in an object store."""
        return Path(self._path(name)) if self._local else None

    def delete(self, name: str) -> None:
        """Delete `name` if it is there. Raises `ArtifactsUnavailable`."""
        with self._explained("be deleted"), suppress(FileNotFoundError):
            self._filesystem.delete_file(self._path(name))

    def list(self, folder: str) -> Iterator[StoredFile]:
        """Iterate over the files below `folder`, one subfolder's at a time. Raises `ArtifactsUnavailable`."""
        with self._explained("be listed"):
            found = self._filesystem.get_file_info(fs.FileSelector(self._path(folder), allow_not_found=True))
        for info in sorted(found, key=lambda each: each.path):
            name = f"{folder}/{info.base_name}"
            if info.type == fs.FileType.Directory:
                yield from self.list(name)
            elif info.type == fs.FileType.File:
                yield StoredFile(name, info.size, 0 if info.mtime_ns is None else info.mtime_ns // 1_000_000)

    def delete_leftovers(self, before: int) -> int:
        """Delete temporary files of writers that were killed, written before `before` (ms); return how many."""
        leftovers = [file for file in self.list(_TEMPORARY) if file.written < before]
        for file in leftovers:
            self.delete(file.name)
        return len(leftovers)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _write_whole(self, temporary: str, data: bytes) -> None:
        if self._local:
            with Path(self._path(temporary)).open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            return
        stream = self._filesystem.open_output_stream(self._path(temporary))
        stream.write(data)  # an error leaves the stream open: closing it would complete the object
        stream.close()
        if self.size(temporary) != len(data):
            raise OSError(f"{temporary} is not as long as what was written")

    def _publish(self, temporary: str, name: str, *, replace: bool) -> bool:
        source, target = self._path(temporary), self._path(name)
        folder = target.rpartition("/")[0]
        if not self._local:
            self._filesystem.create_dir(folder, recursive=True)
            self._filesystem.move(source, target)
            return True
        if not Path(folder).is_dir():
            Path(folder).mkdir(parents=True, exist_ok=True)
            sync_folder(Path(folder).parent)
            sync_folder(Path(folder).parent.parent)
        try:
            if replace:
                Path(source).replace(target)
            else:
                os.link(source, target)
        except FileExistsError:
            return False
        finally:
            sync_folder(Path(folder))
        return True

    @contextmanager
    def _explained(self, act: str) -> Iterator[None]:
        """Turn the errors of file systems into ours."""
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            raise ArtifactsUnavailable(
                f"the artifact store {self._root} cannot {act} ({error}): make room, mend the permissions or the "
                "connection, and try again"
            ) from error


def open_files(place: str) -> WriteOnceFiles:
    """Open the files at `place`: a folder, or the URI of an object store (``s3://bucket/folder``, ``gs://...``).

    Raises `ArtifactError` for a place that cannot be.
    """
    try:
        if "://" in place:
            filesystem, root = fs.FileSystem.from_uri(place)
        else:
            filesystem, root = fs.LocalFileSystem(), str(Path(place).absolute())
    except (OSError, ValueError, pa.ArrowException) as error:
        raise ArtifactError(
            f"{place}: no place for artifacts ({error}): name a folder, or s3://BUCKET/FOLDER"
        ) from error
    return WriteOnceFiles(filesystem, root)
