"""The formats by name. A new one is a module with `read_arenas` and `read_votes`, and a line here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol

from pipeline.contracts.log import Record
from pipeline.contracts.vote import Vote, encode_vote
from producers.importers import genai_arena, ksort, kwise, lmarena, preflib
from producers.importers.source import ImportedArena, ImportOptions, ImportSummary


class ReadArenas(Protocol):
    """Finds the arenas that a file has votes for."""

    def __call__(self, path: Path, options: ImportOptions) -> list[ImportedArena]:
        """Read the file for its arenas. Raises `ImportFault`."""
        ...


class ReadVotes(Protocol):
    """Reads the votes of a file."""

    def __call__(self, path: Path, options: ImportOptions, summary: ImportSummary) -> Iterator[Vote] | Iterator[Record]:
        """Read the file for its votes, counting in `summary`. Raises `ImportFault`."""
        ...


@dataclass(frozen=True, slots=True)
class ImportFormat:
    """A format that votes can be imported from."""

    title: str
    read_arenas: ReadArenas
    read_votes: ReadVotes


FORMATS: Final[Mapping[str, ImportFormat]] = MappingProxyType(
    {
        "genai-arena": ImportFormat(
            "GenAI-Arena's battles of image and video models (JSON)",
            genai_arena.read_arenas,
            genai_arena.read_votes,
        ),
        "lmarena": ImportFormat("LMArena's battles of chat models (JSON)", lmarena.read_arenas, lmarena.read_votes),
        "preflib": ImportFormat("PrefLib's complete orders (.soc)", preflib.read_arenas, preflib.read_votes),
        "ksort": ImportFormat(
            "K-wise votes with models and ranks (JSON lines or CSV)", ksort.read_arenas, ksort.read_votes
        ),
        "kwise": ImportFormat("our own votes (JSON lines or Parquet), passed on", kwise.read_arenas, kwise.read_votes),
    }
)


def read_records(name: str, path: Path, options: ImportOptions, summary: ImportSummary) -> Iterator[Record]:
    """Iterate over a file's votes as records for a log, each under its matchup_id. Raises `ImportFault`."""
    for vote in FORMATS[name].read_votes(path, options, summary):
        yield vote if isinstance(vote, Record) else Record(encode_vote(vote), vote.matchup_id)
