"""An object store in memory behind `pyarrow.fs`: objects appear when they are closed, and the wire may break."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
from pyarrow import fs


class MemoryObjects(fs.FileSystemHandler):
    """Objects by key. `breaks_after`: so many bytes of a write arrive, then it fails; None: all do."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.breaks_after: int | None = None

    def get_type_name(self) -> str:
        return "memory"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: list[str]) -> list[fs.FileInfo]:
        return [self._look(path) for path in paths]

    def get_file_info_selector(self, selector: fs.FileSelector) -> list[fs.FileInfo]:
        start = selector.base_dir.rstrip("/") + "/"
        inside = {key[len(start) :].partition("/")[0] for key in self.objects if key.startswith(start)}
        return [self._look(start + name) for name in inside]

    def create_dir(self, path: str, recursive: bool) -> None:
        """Object stores have no folders."""

    def delete_dir(self, path: str) -> None:
        raise NotImplementedError

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        raise NotImplementedError

    def delete_root_dir_contents(self) -> None:
        raise NotImplementedError

    def delete_file(self, path: str) -> None:
        if self.objects.pop(path, None) is None:
            raise FileNotFoundError(path)

    def move(self, src: str, dest: str) -> None:
        self.objects[dest] = self.objects.pop(src)

    def copy_file(self, src: str, dest: str) -> None:
        self.objects[dest] = self.objects[src]

    def open_input_stream(self, path: str) -> pa.PythonFile:
        if path not in self.objects:
            raise FileNotFoundError(path)
        return pa.PythonFile(io.BytesIO(self.objects[path]), "r")

    def open_input_file(self, path: str) -> pa.PythonFile:
        return self.open_input_stream(path)

    def open_output_stream(self, path: str, metadata: dict[str, str]) -> pa.PythonFile:  # noqa: ARG002 - the interface
        return pa.PythonFile(_Upload(self, path), "w")

    def open_append_stream(self, path: str, metadata: dict[str, str]) -> pa.PythonFile:
        raise NotImplementedError

    def _look(self, path: str) -> fs.FileInfo:
        if path in self.objects:
            return fs.FileInfo(path, fs.FileType.File, size=len(self.objects[path]), mtime=0.0)
        is_folder = any(key.startswith(path.rstrip("/") + "/") for key in self.objects)
        return fs.FileInfo(path, fs.FileType.Directory if is_folder else fs.FileType.NotFound)


class _Upload(io.BytesIO):
    """What was written becomes an object when it is closed, as much of it as arrived."""

    def __init__(self, store: MemoryObjects, path: str) -> None:
        super().__init__()
        self._store = store
        self._path = path

    def write(self, data: Any) -> int:
        limit = self._store.breaks_after
        if limit is not None:
            super().write(bytes(data)[:limit])
            raise OSError("the connection was reset")
        return super().write(bytes(data))

    def close(self) -> None:
        if not self.closed:
            self._store.objects[self._path] = self.getvalue()
        super().close()
