"""Kafka's jars: what is missing or damaged is fetched again, what is not in the lock is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from infra.kafka import BrokerError
from infra.kafka.jars import HOME_VARIABLE, LOCK, fetch_jars, jars_folder, read_lock


@pytest.fixture
def small_lock(tmp_path: Path) -> Path:
    """The lock of one jar that is in the real lock, too, and small."""
    lock = tmp_path / "small.lock"
    lock.write_text(next(line for line in LOCK.read_text().splitlines() if "slf4j-simple" in line) + "\n")
    return lock


def make_program(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def test_lock_names_exact_files_and_no_address() -> None:
    jars = read_lock()
    assert len({jar.file_name for jar in jars}) == len(jars) > 40
    assert all(len(jar.sha256) == 64 for jar in jars)
    assert "://" not in LOCK.read_text()


def test_jars_are_kept_outside_the_repository(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(HOME_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert jars_folder().parent == tmp_path / "cache" / "kwise-arena"
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "mine"))
    assert jars_folder().parent == tmp_path / "mine"


@pytest.mark.kafka
def test_a_damaged_jar_is_fetched_again(small_lock: Path, tmp_path: Path) -> None:
    (path,) = fetch_jars(tmp_path / "jars", small_lock)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert fetch_jars(tmp_path / "jars", small_lock) == (path,)
    assert path.read_bytes() == whole


@pytest.mark.kafka
def test_a_jar_with_another_checksum_is_refused(small_lock: Path, tmp_path: Path) -> None:
    coordinates, sha256 = small_lock.read_text().split()
    small_lock.write_text(f"{coordinates} {sha256[::-1]}\n")
    with pytest.raises(BrokerError, match=r"other files than small\.lock names: org\.slf4j:slf4j-simple"):
        fetch_jars(tmp_path / "jars", small_lock)
    assert not list((tmp_path / "jars").glob("*.jar"))


def test_missing_maven_says_how_to_install_it(
    small_lock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(BrokerError, match="apt-get install maven"):
        fetch_jars(tmp_path / "jars", small_lock)


def test_broken_maven_is_quoted(small_lock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_program(tmp_path / "bin", "mvn", "echo 'no such repository'; exit 7")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    assert shutil.which("mvn") == str(tmp_path / "bin" / "mvn")
    with pytest.raises(BrokerError, match=r"exit code 7.*\n.*no such repository"):
        fetch_jars(tmp_path / "jars", small_lock)
