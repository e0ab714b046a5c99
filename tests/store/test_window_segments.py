from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.contracts.store import StoreError
from pipeline.store.window_segments import WINDOW, merge_window, read_window, write_window
from tests.store.factory import make_window


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / WINDOW).mkdir()
    return tmp_path


def test_segment_comes_back(root: Path) -> None:
    entries = make_window([5, 3, 9])
    entries["matchup_hi"] = 2**64 - 1
    file = write_window(root, "a.bin", entries, commits=(1, 1), level=0)
    assert np.array_equal(read_window(root / file.path), entries)
    assert (file.rows, file.first_time, file.last_time, file.bytes) == (3, 3, 9, 64 + 3 * 40)


def test_merge_forgets_what_is_older_than_the_horizon(root: Path) -> None:
    files = [write_window(root, f"{n}.bin", make_window([n, n + 5]), commits=(n, n), level=0) for n in (1, 2, 3)]
    merged = merge_window(root, files, "m.bin", horizon=3)
    assert merged is not None
    assert read_window(root / merged.path)["time"].tolist() == [6, 7, 3, 8]
    assert (merged.level, merged.first_commit, merged.last_commit) == (1, 1, 3)


def test_merge_of_nothing_young_enough_leaves_no_file(root: Path) -> None:
    files = [write_window(root, "a.bin", make_window([1]), commits=(1, 1), level=0)]
    assert merge_window(root, files, "m.bin", horizon=2) is None
    assert not (root / WINDOW / "m.bin").exists()


@pytest.mark.parametrize(("place", "what"), [(0, "no segment"), (8, "version"), (70, "checksum"), (20, "checksum")])
def test_damaged_segment_is_refused(root: Path, place: int, what: str) -> None:
    file = write_window(root, "a.bin", make_window([1, 2]), commits=(1, 1), level=0)
    data = bytearray((root / file.path).read_bytes())
    data[place] ^= 1
    (root / file.path).write_bytes(data)
    with pytest.raises(StoreError, match=what):
        read_window(root / file.path)


def test_segment_cut_short_is_refused(root: Path) -> None:
    file = write_window(root, "a.bin", make_window([1, 2]), commits=(1, 1), level=0)
    data = (root / file.path).read_bytes()
    for size in (0, 63, 64, len(data) - 1):
        (root / file.path).write_bytes(data[:size])
        with pytest.raises(StoreError):
            read_window(root / file.path)
