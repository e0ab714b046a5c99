"""Apache Kafka's jars: fetched with Maven, checked against a lock file, kept in a folder outside the repository.

``kafka.lock`` names each jar by its coordinates and its sha256, and holds no address: which repository they come
from is up to Maven's own settings. Nothing that is not in the lock is ever put on the class path.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from infra.kafka.errors import BrokerError

LOCK = Path(__file__).with_name("kafka.lock")
ROOTS = ("org.apache.kafka:kafka_2.13:4.3.1", "org.slf4j:slf4j-simple:1.7.36")
"""What is asked for; everything else in the lock is what these need at run time."""

HOME_VARIABLE = "KWISE_BROKER_HOME"
"""Names the folder for jars. The prefix KWISE_KAFKA_ belongs to the settings of clients."""

_FETCH_LIMIT_S = 900.0  # 45 MB through a slow proxy


@dataclass(frozen=True, slots=True)
class Jar:
    """One line of the lock.

    Attributes
    ----------
    group, artifact, version : str
        Maven's coordinates.
    sha256 : str
        Of the file, 64 hex digits.
    """

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def coordinates(self) -> str:
        """``group:artifact:version``."""
        return f"{self.group}:{self.artifact}:{self.version}"

    @property
    def file_name(self) -> str:
        """What Maven calls the file."""
        return f"{self.artifact}-{self.version}.jar"


def read_lock(path: Path = LOCK) -> tuple[Jar, ...]:
    """Return the jars that a lock file names, in its order."""
    jars = []
    for line in path.read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            coordinates, sha256 = line.split()
            group, artifact, version = coordinates.split(":")
            jars.append(Jar(group, artifact, version, sha256))
    return tuple(jars)


def kafka_version(jars: Sequence[Jar] | None = None) -> str:
    """Return the version of the broker in the lock."""
    return next(jar.version for jar in jars or read_lock() if jar.artifact.startswith("kafka_"))


def jars_folder() -> Path:
    """Return where the jars are kept: a folder of their version below $KWISE_BROKER_HOME or the user's cache."""
    home = os.environ.get(HOME_VARIABLE)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return (Path(home) if home else cache / "kwise-arena") / f"kafka-{kafka_version()}"


def are_jars_here() -> bool:
    """Whether the folder holds a file for each jar; says nothing of their content."""
    return all((jars_folder() / jar.file_name).is_file() for jar in read_lock())


def is_maven_here() -> bool:
    """Whether there is a program `mvn` on the path."""
    return shutil.which("mvn") is not None


def fetch_jars(folder: Path | None = None, lock: Path = LOCK) -> tuple[Path, ...]:
    """Return the jars' paths in the order of `lock`, after fetching those that are missing or damaged.

    Raises
    ------
    BrokerError
        Maven is missing or failed, or what it brought has other checksums than the lock.
    """
    folder = folder or jars_folder()
    jars = read_lock(lock)
    paths = tuple(folder / jar.file_name for jar in jars)
    folder.mkdir(parents=True, exist_ok=True)
    with _hold(folder / "fetch.lock"):
        if wrong := _find_wrong(folder, jars):
            with tempfile.TemporaryDirectory(dir=folder, prefix="fetch-") as fetched:
                _copy_jars([jar.coordinates for jar in wrong], Path(fetched), transitive=False)
                if bad := _find_wrong(Path(fetched), wrong):
                    listed = ", ".join(jar.coordinates for jar in bad)
                    raise BrokerError(
                        f"Maven brought other files than {lock.name} names: {listed}. Delete them in Maven's local "
                        "repository and try again; if that does not help, the repository it asks is not to be trusted."
                    )
                for jar in wrong:
                    (Path(fetched) / jar.file_name).replace(folder / jar.file_name)
    return paths


def make_lock(roots: Sequence[str] = ROOTS) -> str:
    """Return the text of a lock file: `roots` and what they need, as Maven resolves it today."""
    with tempfile.TemporaryDirectory() as folder:
        listing = Path(folder) / "list.txt"
        _copy_jars(roots, Path(folder), transitive=True)
        _run_maven(["dependency:list", "-DincludeScope=runtime", f"-DoutputFile={listing}"], roots)
        lines = []
        for line in listing.read_text("utf-8").splitlines():
            if line.count(":") == 4:
                group, artifact, _, version, _ = line.split()[0].split(":")
                path = Path(folder) / Jar(group, artifact, version, "").file_name
                lines.append(f"{group}:{artifact}:{version} {_hash(path)}\n")
    return "".join(sorted(lines))


def _find_wrong(folder: Path, jars: Sequence[Jar]) -> list[Jar]:
    return [jar for jar in jars if not (path := folder / jar.file_name).is_file() or _hash(path) != jar.sha256]


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _hold(path: Path) -> Iterator[None]:
    """Keep other processes out: test workers all fetch at their first broker."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _copy_jars(coordinates: Sequence[str], folder: Path, *, transitive: bool) -> None:
    options = ["-DincludeScope=runtime", f"-DoutputDirectory={folder.resolve()}"]
    # The lock lists everything, so Maven need not, and may not, add anything.
    options += [] if transitive else ["-DexcludeTransitive=true"]
    _run_maven(["dependency:copy-dependencies", *options], coordinates)


def _run_maven(arguments: Sequence[str], coordinates: Sequence[str]) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise BrokerError("Kafka's jars are fetched with Maven, and there is no mvn: on Debian, apt-get install maven.")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "pom.xml").write_text(_make_pom(coordinates), "utf-8")
        try:
            done = subprocess.run(
                [maven, "--quiet", "--batch-mode", *arguments],
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=_FETCH_LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise BrokerError(
                f"Maven did not end within {_FETCH_LIMIT_S:g} s: see whether it reaches its repository."
            ) from error
    if done.returncode:
        told = "\n".join((done.stdout + done.stderr).strip().splitlines()[:8])
        raise BrokerError(f"Maven could not fetch Kafka's jars (exit code {done.returncode}):\n{told}")


def _make_pom(coordinates: Sequence[str]) -> str:
    parts = [
        "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>".format(
            *map(escape, name.split(":"))
        )
        for name in coordinates
    ]
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        "<groupId>kwise-arena</groupId><artifactId>kafka-broker</artifactId><version>1</version>"
        f"<packaging>pom</packaging><dependencies>{''.join(parts)}</dependencies></project>\n"
    )
