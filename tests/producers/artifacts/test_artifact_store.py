"""The artifact store: bytes under their hash, whole or not at all, whoever writes and whatever breaks."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterable
from hashlib import sha256
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from pyarrow import fs

from pipeline.eventlog.blocks import wall_clock_ms
from producers.artifacts.errors import (
    ArtifactError,
    ArtifactMissing,
    ArtifactsUnavailable,
    ArtifactTooLarge,
    WrongMedia,
)
from producers.artifacts.files import WriteOnceFiles
from producers.artifacts.media import MEDIA_TYPES, PNG, TEXT
from producers.artifacts.store import Artifact, ArtifactStore, open_artifacts
from producers.dispatcher.plain_png import draw_png
from tests.producers.artifacts.object_store import MemoryObjects

HOUR = 3_600_000
DAY = 24 * HOUR
RECIPE = "c0" * 32
FORKSERVER = multiprocessing.get_context("forkserver")


class Clock:
    """The wall clock, moved on by hand: files get their times from the system."""

    def __init__(self) -> None:
        self.ahead = 0

    def __call__(self) -> int:
        return wall_clock_ms() + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def objects() -> MemoryObjects:
    return MemoryObjects()


@pytest.fixture(params=["folder", "objects"])
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock, objects: MemoryObjects) -> ArtifactStore:
    if request.param == "folder":
        return open_artifacts(tmp_path / "artifacts", clock=clock, max_bytes=100_000)
    return ArtifactStore(WriteOnceFiles(fs.PyFileSystem(objects), "bucket/arena"), clock=clock, max_bytes=100_000)


@pytest.fixture
def folder_store(tmp_path: Path, clock: Clock) -> ArtifactStore:
    return open_artifacts(tmp_path / "artifacts", clock=clock)


def find_nothing(_hashes: Iterable[str]) -> set[str]:
    return set()


def list_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_bytes_are_kept_under_their_hash(store: ArtifactStore) -> None:
    data = draw_png("a red disc")
    artifact = store.put(data, PNG)
    assert artifact == Artifact(sha256=sha256(data).hexdigest(), media_type=PNG, size=len(data))
    assert store.read(artifact.sha256, PNG) == data
    assert store.put(data, "image/PNG; q=1") == artifact


def test_a_folder_knows_the_file_and_an_object_store_has_none(
    tmp_path: Path, clock: Clock, objects: MemoryObjects
) -> None:
    local = open_artifacts(tmp_path / "artifacts", clock=clock)
    artifact = local.put(draw_png("a"), PNG)
    path = local.local_path(artifact.sha256, PNG)
    assert path is not None
    assert path.read_bytes() == draw_png("a")
    assert local.local_path("0" * 64, PNG) is None
    remote = ArtifactStore(WriteOnceFiles(fs.PyFileSystem(objects), "bucket"), clock=clock)
    assert remote.local_path(remote.put(draw_png("a"), PNG).sha256, PNG) is None


def test_what_is_not_there_is_missing(store: ArtifactStore) -> None:
    artifact = store.put(b"words", TEXT)
    with pytest.raises(ArtifactMissing):
        store.read("0" * 64, PNG)
    with pytest.raises(ArtifactMissing):
        store.read(artifact.sha256, PNG)


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "..",
        "",
        "/etc/passwd",
        "A" * 64,
        "0" * 63,
        "0" * 65,
        "0" * 64 + "\n",
        "%2e%2e/" * 8,
        "\0" * 64,
    ],
)
def test_no_name_leads_out_of_the_store(store: ArtifactStore, name: str) -> None:
    with pytest.raises(ArtifactMissing):
        store.read(name, PNG)
    with pytest.raises(ArtifactError):
        store.find_recipe(name)
    with pytest.raises(ArtifactError):
        store.bind_recipe(name, Artifact(sha256="0" * 64, media_type=PNG, size=1))


@pytest.mark.parametrize("media_type", ["text/html", "image/svg+xml", "", "image/png/../../x", "../png", "a" * 500])
def test_only_listed_media_types_are_taken(store: ArtifactStore, media_type: str) -> None:
    with pytest.raises(WrongMedia):
        store.put(draw_png("a"), media_type)
    with pytest.raises(WrongMedia):
        store.read("0" * 64, media_type)


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
def test_bytes_must_be_what_the_media_type_says(store: ArtifactStore, media_type: str) -> None:
    samples = {
        PNG: draw_png("a"),
        "image/jpeg": b"\xff\xd8\xff\xe0 jfif",
        "image/webp": b"RIFF\x10\0\0\0WEBPVP8 ",
        "video/mp4": b"\0\0\0\x18ftypmp42",
        "video/webm": b"\x1a\x45\xdf\xa3\x9f",
        TEXT: "grüße".encode(),
    }
    assert store.put(samples[media_type], media_type).media_type == media_type
    for wrong in (b"", b"<script>alert(1)</script>\0", b"\xff\xfe\0"):
        with pytest.raises(WrongMedia):
            store.put(wrong, media_type)


def test_too_many_bytes_are_refused(store: ArtifactStore) -> None:
    store.put(b"a" * 100_000, TEXT)
    with pytest.raises(ArtifactTooLarge, match="100001 bytes; at most 100000"):
        store.put(b"a" * 100_001, TEXT)


def test_the_first_result_of_a_recipe_stays(store: ArtifactStore) -> None:
    assert store.find_recipe(RECIPE) is None
    first, second = store.put(draw_png("first"), PNG), store.put(draw_png("second"), PNG)
    assert store.bind_recipe(RECIPE, first) == first
    assert store.bind_recipe(RECIPE, second) == first
    assert store.find_recipe(RECIPE) == first


def test_an_upload_that_breaks_leaves_nothing(clock: Clock, objects: MemoryObjects) -> None:
    store = ArtifactStore(WriteOnceFiles(fs.PyFileSystem(objects), "bucket"), clock=clock)
    objects.breaks_after = 10
    with pytest.raises(ArtifactsUnavailable, match="connection was reset") as caught:
        store.put(draw_png("a"), PNG)
    assert caught.value.retriable
    assert not [key for key in objects.objects if key.startswith("bucket/objects")]
    objects.breaks_after = None
    assert store.read(store.put(draw_png("a"), PNG).sha256, PNG) == draw_png("a")


def test_a_full_disk_leaves_nothing(
    tmp_path: Path, folder_store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("producers.artifacts.files.os.fsync", fail)
        with pytest.raises(ArtifactsUnavailable, match="No space left"):
            folder_store.put(draw_png("a"), PNG)
    assert list_files(tmp_path) == []


def test_concurrent_writers_of_the_same_bytes_all_succeed(store: ArtifactStore) -> None:
    data = draw_png("a", 100)
    found: list[Artifact] = []
    start = threading.Barrier(8)

    def write() -> None:
        start.wait()
        artifact = store.put(data, PNG)
        assert store.read(artifact.sha256, PNG) == data
        found.append(store.bind_recipe(RECIPE, artifact))

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_concurrent_results_of_a_recipe_agree_on_one(folder_store: ArtifactStore) -> None:
    start = threading.Barrier(8)
    bound: list[Artifact] = []

    def write(number: int) -> None:
        artifact = folder_store.put(draw_png(str(number)), PNG)
        start.wait()
        bound.append(folder_store.bind_recipe(RECIPE, artifact))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(bound) == 8
    assert set(bound) == {folder_store.find_recipe(RECIPE)}


def write_for_ever(folder: str, report: Connection) -> None:
    store = open_artifacts(folder, clock=wall_clock_ms)
    number = 0
    while True:
        artifact = store.put(f"{number} ".encode() * 20_000, TEXT)
        store.bind_recipe(f"{number:064x}", artifact)
        report.send(number)
        number += 1


def test_killed_writers_leave_whole_artifacts_only(tmp_path: Path, clock: Clock) -> None:
    FORKSERVER.set_forkserver_preload(["tests.producers.artifacts.test_artifact_store"])
    folder = tmp_path / "artifacts"
    written = 0
    for kill in range(6):
        ours, theirs = FORKSERVER.Pipe(duplex=False)
        process = FORKSERVER.Process(target=write_for_ever, args=(str(folder), theirs))
        process.start()
        theirs.close()
        for _ in range(kill * 3):
            written = max(written, ours.recv() + 1)
        process.kill()
        process.join()
        for path in list_files(folder / "objects"):
            assert sha256(path.read_bytes()).hexdigest() == path.stem
        store = open_artifacts(folder, clock=clock)
        for number in range(written):
            artifact = store.find_recipe(f"{number:064x}")
            assert artifact is not None
            assert store.read(artifact.sha256, TEXT) == f"{number} ".encode() * 20_000
    clock.ahead = 2 * HOUR
    open_artifacts(folder, clock=clock).remove_unreferenced(set, older_than_ms=DAY)
    assert list_files(folder / "tmp") == []


def test_a_clean_up_takes_what_is_old_and_unreferenced(tmp_path: Path, clock: Clock) -> None:
    folder = tmp_path / "artifacts"
    before = open_artifacts(folder, clock=clock)
    kept, gone = before.put(draw_png("kept"), PNG), before.put(draw_png("gone"), PNG)
    before.bind_recipe(RECIPE, gone)
    before.bind_recipe("ab" * 32, kept)
    store = open_artifacts(folder, clock=clock)  # knows of no put
    assert store.remove_unreferenced(find_nothing, older_than_ms=DAY).artifacts == 0
    clock.ahead = 2 * DAY
    removed = store.remove_unreferenced({kept.sha256}.intersection, older_than_ms=DAY)
    assert (removed.artifacts, removed.bytes, removed.recipes) == (1, gone.size, 1)
    assert store.read(kept.sha256, PNG) == draw_png("kept")
    assert store.find_recipe("ab" * 32) == kept
    assert store.find_recipe(RECIPE) is None
    with pytest.raises(ArtifactMissing):
        store.read(gone.sha256, PNG)


@pytest.mark.parametrize("touch", ["put", "find"])
def test_a_clean_up_leaves_what_somebody_may_be_about_to_use(
    folder_store: ArtifactStore, clock: Clock, touch: str
) -> None:
    artifact = folder_store.put(draw_png("a"), PNG)
    folder_store.bind_recipe(RECIPE, artifact)
    clock.ahead = 2 * DAY
    if touch == "put":
        folder_store.put(draw_png("a"), PNG)
    else:
        folder_store.find_recipe(RECIPE)
    assert folder_store.remove_unreferenced(find_nothing, older_than_ms=DAY).artifacts == 0
    assert folder_store.find_recipe(RECIPE) == artifact


def test_a_recipe_is_bound_anew_when_its_artifact_is_gone(folder_store: ArtifactStore) -> None:
    gone = folder_store.put(draw_png("gone"), PNG)
    folder_store.bind_recipe(RECIPE, gone)
    path = folder_store.local_path(gone.sha256, PNG)
    assert path is not None
    path.unlink()
    again = folder_store.put(draw_png("again"), PNG)
    assert folder_store.bind_recipe(RECIPE, again) == again
    assert folder_store.find_recipe(RECIPE) == again


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b'{"sha256": "../../x", "media_type": "image/png", "size": 1}'])
def test_a_damaged_recipe_is_as_good_as_none(tmp_path: Path, folder_store: ArtifactStore, damage: bytes) -> None:
    artifact = folder_store.put(draw_png("a"), PNG)
    folder_store.bind_recipe(RECIPE, artifact)
    (tmp_path / "artifacts" / "recipes" / RECIPE[:2] / f"{RECIPE}.json").write_bytes(damage)
    assert folder_store.find_recipe(RECIPE) is None
    assert folder_store.bind_recipe(RECIPE, artifact) == artifact
    assert folder_store.find_recipe(RECIPE) == artifact


def test_a_place_that_cannot_be_says_so(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ArtifactsUnavailable, match="cannot be created"):
        open_artifacts(tmp_path / "file" / "artifacts", clock=clock)
    with pytest.raises(ArtifactError, match="no place for artifacts"):
        open_artifacts("nonsense://bucket/folder", clock=clock)
