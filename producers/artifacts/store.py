"""Artifacts by the SHA-256 of their bytes, and recipes: which artifact a recipe made, so that none is made twice.

::

    objects/ab/ab34....png      the bytes; the name says all there is to know about them
    recipes/c0/c0ff....json     {"sha256", "media_type", "size"}; the first complete write wins
    tmp/                        what is being written

Nothing in here says which model made what. Addresses that voters see are made elsewhere, and are random: an address
made from a hash would let a voter recognise a picture.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec

from producers.artifacts.errors import ArtifactError, ArtifactMissing, ArtifactTooLarge
from producers.artifacts.files import StoredFile, WriteOnceFiles, open_files
from producers.artifacts.media import MEDIA_TYPES, check_media, extension_of, normalize_media_type

MAX_BYTES: Final = 64 << 20
"""Largest artifact by default: a clip of some seconds."""

_HASH = re.compile(r"[0-9a-f]{64}")
_OBJECTS: Final = "objects"
_RECIPES: Final = "recipes"
_HOUR_MS: Final = 3_600_000


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an artifact: SHA-256 in hex, media type, size in bytes."""

    sha256: str
    media_type: str
    size: int


@dataclass(frozen=True, slots=True)
class Removed:
    """What a clean-up deleted: artifacts, their bytes, recipes that pointed nowhere, leftovers of killed writers."""

    artifacts: int = 0
    bytes: int = 0
    recipes: int = 0
    leftovers: int = 0


class ArtifactStore:
    """One artifact store. All methods may be called from many threads.

    Many processes may write to one store; only one of them may clean up, and all writes that something is to
    refer to must pass through that one: see `remove_unreferenced`.

    Parameters
    ----------
    files : see `open_artifacts`
    clock : returns the wall clock in ms since 1970 UTC
    max_bytes : larger artifacts are refused
    """

    def __init__(self, files: WriteOnceFiles, *, clock: Callable[[], int], max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self._files = files
        self._clock = clock
        self._lock = threading.Lock()
        self._touched: dict[str, int] = {}  # hash -> when it was last put, ms: a clean-up leaves those alone

    def put(self, data: bytes, media_type: str) -> Artifact:
        """Keep `data`, durable on return; the same bytes again are kept once.

        Raises `WrongMedia`, `ArtifactTooLarge` or `ArtifactsUnavailable`.
        """
        if len(data) > self.max_bytes:
            raise ArtifactTooLarge(f"the artifact has {len(data)} bytes; at most {self.max_bytes} are taken")
        media_type = normalize_media_type(media_type)
        check_media(data, media_type)
        artifact = Artifact(sha256=sha256(data).hexdigest(), media_type=media_type, size=len(data))
        self._touch(artifact.sha256)  # before: from now on no clean-up takes it away
        self._files.write(_object_name(artifact.sha256, media_type), data)
        return artifact

    def read(self, sha256_hex: str, media_type: str) -> bytes:
        """Return the bytes of an artifact; raises `ArtifactMissing` or `ArtifactsUnavailable`."""
        data = self._files.read(_object_name(sha256_hex, media_type))
        if data is None:
            raise ArtifactMissing(f"there is no artifact {sha256_hex} ({media_type})")
        return data

    def local_path(self, sha256_hex: str, media_type: str) -> Path | None:
        """Return the file of an artifact on this machine, for servers that send files; None if it is not here."""
        path = self._files.local_path(_object_name(sha256_hex, media_type))
        return path if path is not None and path.is_file() else None

    def bind_recipe(self, recipe: str, artifact: Artifact) -> Artifact:
        """Note that `recipe` (64 hex digits) made `artifact`; return what it made first, if that is still here.

        Raises `ArtifactError` for a recipe that is no hash, or `ArtifactsUnavailable`.
        """
        name, value = _recipe_name(recipe), msgspec.json.encode(artifact)
        if self._files.write(name, value):
            return artifact
        found = self.find_recipe(recipe)
        if found is None:  # it points to what retention took
            self._files.write(name, value, replace=True)
        return found or artifact

    def find_recipe(self, recipe: str) -> Artifact | None:
        """Return what `recipe` made, if it is here; no clean-up takes it away for a while. Raises as `bind_recipe`."""
        artifact = self._read_recipe(_recipe_name(recipe))
        if artifact is None:
            return None
        self._touch(artifact.sha256)  # before looking: from now on no clean-up takes it away
        return artifact if self._is_here(artifact) else None

    def remove_unreferenced(
        self, find_referenced: Callable[[Iterable[str]], set[str]], *, older_than_ms: int
    ) -> Removed:
        """Delete artifacts that nothing refers to, older than `older_than_ms`, and recipes that point nowhere.

        Parameters
        ----------
        find_referenced
            Given hashes, returns those that something refers to. Asked anew for each folder of some artifacts.
        older_than_ms
            Age from which an artifact goes. Of one that was put or found again, through this object, since its last
            put or find: whoever put it may be about to refer to it. An hour at least.
        """
        before = self._clock() - max(older_than_ms, _HOUR_MS)
        artifacts = size = 0
        for shard in self._shards():
            old = {file.name.rpartition("/")[2][:64]: file for file in shard if file.written < before}
            referenced = find_referenced(old)
            for hashed, file in old.items():
                if hashed not in referenced and self._delete_untouched(hashed, file.name, before):
                    artifacts += 1
                    size += file.size
        recipes = self._remove_recipes(before)
        with self._lock:
            self._touched = {hashed: when for hashed, when in self._touched.items() if when >= before}
        return Removed(artifacts, size, recipes, self._files.delete_leftovers(self._clock() - _HOUR_MS))

    def _shards(self) -> Iterable[list[StoredFile]]:
        shard: list[StoredFile] = []
        for file in self._files.list(_OBJECTS):
            if shard and file.name.rpartition("/")[0] != shard[0].name.rpartition("/")[0]:
                yield shard
                shard = []
            shard.append(file)
        if shard:
            yield shard

    def _delete_untouched(self, hashed: str, name: str, before: int) -> bool:
        with self._lock:  # a put of the same bytes waits here, then writes them again
            if self._touched.get(hashed, 0) >= before:
                return False
            self._files.delete(name)
        return True

    def _remove_recipes(self, before: int) -> int:
        removed = 0
        for file in self._files.list(_RECIPES):
            recipe = file.name.rpartition("/")[2].removesuffix(".json")
            if file.written >= before or not _HASH.fullmatch(recipe):
                continue
            artifact = self._read_recipe(file.name)
            if artifact is None or not self._is_here(artifact):
                self._files.delete(file.name)
                removed += 1
        return removed

    def _read_recipe(self, name: str) -> Artifact | None:
        """Return what a recipe's file says; of a damaged one nothing, so that it is made again."""
        value = self._files.read(name)
        try:
            artifact = None if value is None else msgspec.json.decode(value, type=Artifact)
        except msgspec.DecodeError:
            return None
        sound = artifact and _HASH.fullmatch(artifact.sha256) and artifact.media_type in MEDIA_TYPES
        return artifact if sound else None

    def _is_here(self, artifact: Artifact) -> bool:
        return self._files.size(_object_name(artifact.sha256, artifact.media_type)) == artifact.size

    def _touch(self, hashed: str) -> None:
        with self._lock:
            self._touched[hashed] = self._clock()


def open_artifacts(place: str | Path, *, clock: Callable[[], int], max_bytes: int = MAX_BYTES) -> ArtifactStore:
    """Open the store at `place`, a folder or an object store's URI; raises `ArtifactError`."""
    return ArtifactStore(open_files(str(place)), clock=clock, max_bytes=max_bytes)


def _object_name(sha256_hex: str, media_type: str) -> str:
    if not _HASH.fullmatch(sha256_hex):
        raise ArtifactMissing(f"{sha256_hex[:100]!r} is no SHA-256 in hex, so there is no such artifact")
    return f"{_OBJECTS}/{sha256_hex[:2]}/{sha256_hex}.{extension_of(media_type)}"


def _recipe_name(recipe: str) -> str:
    if not _HASH.fullmatch(recipe):
        raise ArtifactError(f"recipe {recipe[:100]!r}: a recipe is named by its SHA-256, 64 hex digits in lower case")
    return f"{_RECIPES}/{recipe[:2]}/{recipe}.json"
