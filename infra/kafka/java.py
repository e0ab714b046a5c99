"""The Java that runs Kafka: found, checked, and given its arguments."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.kafka.errors import BrokerError

OLDEST = 17
"""The oldest Java that Kafka 4 runs on."""

_HOW = f"Kafka needs Java {OLDEST} or newer: on Debian, apt-get install openjdk-17-jre-headless; or set JAVA_HOME."
_VERSION = re.compile(r'version "(\d+)')
_ANSWER_LIMIT_S = 30.0


@dataclass(frozen=True, slots=True)
class Java:
    """An installed Java.

    Attributes
    ----------
    program : path
        Of `java`.
    version : str
        What it says of itself: version, build and maker.
    """

    program: Path
    version: str

    def archive_in(self, folder: Path) -> Path:
        """Return where the class archive for this very Java is kept; it need not be there."""
        return folder / f"classes-{hashlib.sha256(self.version.encode()).hexdigest()[:12]}.jsa"


def find_java() -> Java:
    """Return the Java of $JAVA_HOME, or the one on the path.

    Raises
    ------
    BrokerError
        There is none, it does not run, or it is too old.
    """
    home = os.environ.get("JAVA_HOME")
    found = str(Path(home, "bin", "java")) if home else shutil.which("java")
    if found is None:
        raise BrokerError(f"There is no java on the path. {_HOW}")
    try:
        done = subprocess.run([found, "-version"], capture_output=True, text=True, timeout=_ANSWER_LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BrokerError(f"{found} does not run: {error}. {_HOW}") from error
    told = (done.stderr + done.stdout).strip()
    version = _VERSION.search(told)
    if done.returncode or version is None:
        raise BrokerError(f"{found} -version failed: {told[:300]!r}. {_HOW}")
    if int(version[1]) < OLDEST:
        raise BrokerError(f"{found} is Java {version[1]}. {_HOW}")
    return Java(Path(found), told)


def is_java_here() -> bool:
    """Whether a Java that runs Kafka is installed."""
    try:
        find_java()
    except BrokerError:
        return False
    return True


def make_command(
    java: Java, jars: Sequence[Path], heap: str, options: Sequence[str], main: str, *arguments: str
) -> list[str]:
    """Return the command that runs class `main` of `jars` with a heap such as ``256m`` and more options for Java."""
    archive = java.archive_in(jars[0].parent)
    return [
        str(java.program),
        f"-Xms{heap}",
        f"-Xmx{heap}",
        "-XX:+UseSerialGC",  # of all collectors the one with the smallest process
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        *([f"-XX:SharedArchiveFile={archive}"] if archive.exists() else []),
        *options,
        "-cp",
        os.pathsep.join(map(str, jars)),
        main,
        *arguments,
    ]
