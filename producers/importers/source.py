"""What importers share: options, the summary, identifiers that a second import repeats, and arenas as events.

An importer is a module with two functions::

    read_arenas(path, options) -> list[ImportedArena]
    read_votes(path, options, summary) -> Iterator[Vote | Record]

`read_arenas` reads the whole file, so that a fault anywhere in it is found before anything is written
(`kwise` does not: its votes bring their own ids, and a broken import can be repeated).

Privacy: whatever identifies a voter in a file is replaced by a keyed hash, and never leaves this package.
Repeatability: vote_id, matchup_id and event_id are hashes of the file's content and the row. A second import
of the same file gives the same ids, and is dropped by the pipeline as duplicates.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from pipeline.contracts.arena import Arena, Model
from pipeline.contracts.control import ControlEvent
from pipeline.contracts.ids import is_id
from producers.importers.errors import ImportFault

_NOT_IN_IDS = re.compile(r"[^A-Za-z0-9._:-]+")
_ID_LENGTH = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """What a user may ask of an import.

    Attributes
    ----------
    arena_id : str or None
        Arena to import into; None: the format's own.
    include_named : bool
        Take votes that were cast with the models' names in view, too.
    models : Path or None
        CSV with names, organizations, licenses and links of models.
    salt : str or None
        Key of the voters' hashes. None: the hash of the file, so that voters of two files cannot be matched.
    """

    arena_id: str | None = None
    include_named: bool = False
    models: Path | None = None
    salt: str | None = None


@dataclass(slots=True)
class ImportSummary:
    """What became of the votes of a file; filled while they are read."""

    read: int = 0
    imported: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)

    def take(self, arena: str) -> None:
        """Count a vote that is imported into `arena`."""
        self.read += 1
        self.imported[arena] += 1

    def skip(self, why: str) -> None:
        """Count a vote that is left out."""
        self.read += 1
        self.skipped[why] += 1

    def describe(self) -> list[str]:
        """Return the summary as lines for people."""
        imported, skipped = self.imported.total(), self.skipped.total()
        lines = [f"read {self.read} votes, imported {imported}, left out {skipped}"]
        return lines + [f"  left out {count}: {why}" for why, count in self.skipped.most_common()]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedArena:
    """An arena that a file has votes for.

    Attributes
    ----------
    arena : Arena
    models : tuple of Model
        Sorted by id.
    since : int
        Time of its first vote, ms: its definition is dated then, so that it precedes the votes in a file log
        too. note : str Where it comes from, and what is known of it; kept with the event.
    """

    arena: Arena
    models: tuple[Model, ...]
    since: int
    note: str


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Makes identifiers from a file's content."""

    content: bytes

    def row_id(self, what: str, arena: str, row: int | str) -> str:
        """Return the id of `what` (vote, matchup, model) in a row: 32 hex digits.

        The same row imported into another arena is another vote.
        """
        return blake2b(f"{what}:{arena}:{row}".encode(), key=self.content, digest_size=16).hexdigest()

    def hide_voter(self, raw: str, salt: str | None) -> str:
        """Return a voter id from which `raw` cannot be read."""
        key = blake2b(salt.encode(), digest_size=32).digest() if salt else self.content
        return "v0." + blake2b(raw.encode(), key=key, digest_size=16).hexdigest()


def take_fingerprint(path: Path) -> Fingerprint:
    """Hash the content of a file."""
    digest = blake2b(digest_size=32)
    try:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except OSError as error:
        raise ImportFault(path, None, error.strerror or str(error)) from None
    return Fingerprint(digest.digest())


def make_id(name: str) -> str:
    """Turn a name into an id: whatever may not stand in one becomes a dash. Empty if nothing is left."""
    return _NOT_IN_IDS.sub("-", name).strip("._:-")[:_ID_LENGTH]


def require_arena_id(path: Path, arena_id: str) -> str:
    """Return `arena_id`, or raise `ImportFault` if it is not valid."""
    if not is_id(arena_id):
        raise ImportFault(path, None, f"{arena_id!r} is not a valid arena id; give one with --arena-id")
    return arena_id


def define_arenas(arenas: Iterable[ImportedArena], path: Path) -> list[ControlEvent]:
    """Return the control events that define `arenas` and their models."""
    fingerprint = take_fingerprint(path)
    events = []
    for imported in arenas:
        arena = imported.arena
        events.append(
            ControlEvent(
                schema=1,
                event_id=fingerprint.row_id("arena", arena.id, ""),
                type="arena.upsert",
                time=imported.since,
                arena=arena.id,
                by="import",
                reason=imported.note,
                title=arena.title,
                k=arena.k,
                modes=arena.modes,
            )
        )
        events += [
            ControlEvent(
                schema=1,
                event_id=fingerprint.row_id("model", arena.id, model.id),
                type="model.add",
                time=imported.since,
                arena=arena.id,
                by="import",
                model=model,
            )
            for model in imported.models
        ]
    return events
