"""Java that is missing, broken or too old is named, with what to install."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.kafka import BrokerError
from infra.kafka.java import find_java

ADVICE = "apt-get install openjdk-17-jre-headless"


def make_java(home: Path, text: str) -> Path:
    program = home / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    return home


def test_no_java_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BrokerError, match=f"no java on the path.*{ADVICE}"):
        find_java()


def test_java_home_without_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(BrokerError, match=f"{tmp_path}/bin/java does not run.*{ADVICE}"):
        find_java()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("""echo 'openjdk version "11.0.2" 2019-01-15' >&2""", "is Java 11"),
        ("""echo 'java version "1.8.0_392"' >&2""", "is Java 1"),
        ("echo 'cannot open shared object file' >&2; exit 127", "cannot open shared object file"),
        ("true", "-version failed"),
    ],
)
def test_unusable_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str) -> None:
    monkeypatch.setenv("JAVA_HOME", str(make_java(tmp_path, text)))
    with pytest.raises(BrokerError, match=f"{said}.*{ADVICE}"):
        find_java()


def test_usable_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(make_java(tmp_path, """echo 'openjdk version "21" 2023-09-19' >&2""")))
    assert find_java().program == tmp_path / "bin" / "java"
