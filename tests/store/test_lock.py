from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from pipeline.contracts.store import StoreError
from pipeline.store.lock import StoreLock


def hold_lock(folder: Path, ready: Connection) -> None:
    StoreLock(folder, "pipeline run", 1_764_000_000_000)
    ready.send(os.getpid())
    signal.pause()


def test_lock_names_the_holder_to_a_second_opener(tmp_path: Path) -> None:
    lock = StoreLock(tmp_path, "pipeline run", 1_764_000_000_000)
    with pytest.raises(StoreError, match=rf"held by pipeline run \(process {os.getpid()}, since 2025-11-24T16:00:00"):
        StoreLock(tmp_path, "replay", 0)
    lock.release()
    lock.release()
    StoreLock(tmp_path, "replay", 0).release()


def test_lock_is_released_by_kill(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    here, there = context.Pipe()
    child = context.Process(target=hold_lock, args=(tmp_path, there))
    child.start()
    pid = here.recv()
    with pytest.raises(StoreError, match=f"process {pid}"):
        StoreLock(tmp_path, "replay", 0)
    os.kill(pid, signal.SIGKILL)
    child.join()
    StoreLock(tmp_path, "replay", 0).release()


def test_lock_with_an_unreadable_file_is_refused_all_the_same(tmp_path: Path) -> None:
    lock = StoreLock(tmp_path, "x", 0)
    (tmp_path / "LOCK").write_text("?")
    with pytest.raises(StoreError, match="another process"):
        StoreLock(tmp_path, "replay", 0)
    lock.release()
