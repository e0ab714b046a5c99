"""LMArena (LMSYS, FastChat): battles of chat models; see `producers.importers.battles`.

All models play in one arena, `chatbot-arena` unless another id is given. A model's id is its name in the
file, with a dash for whatever may not stand in an id.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pipeline.contracts.vote import Vote
from producers.importers.battles import Competitor, Identify, read_battle_arenas, read_battle_votes
from producers.importers.source import ImportedArena, ImportOptions, ImportSummary, make_id, require_arena_id

_ARENA: Final = "chatbot-arena"


def read_arenas(path: Path, options: ImportOptions) -> list[ImportedArena]:
    """Return the arena that the file has votes for. Raises `ImportFault`."""
    identify = _make_identify(path, options)
    note = f"imported from LMArena's {path.name}"
    return read_battle_arenas(path, options, identify, titles=lambda _: "Chatbot arena", note=note)


def read_votes(path: Path, options: ImportOptions, summary: ImportSummary) -> Iterator[Vote]:
    """Iterate over the file's votes. Raises `ImportFault`."""
    return read_battle_votes(path, options, summary, _make_identify(path, options))


def _make_identify(path: Path, options: ImportOptions) -> Identify:
    arena = require_arena_id(path, options.arena_id or _ARENA)

    def identify(name: str) -> Competitor:
        model = make_id(name)
        if not model:
            raise ValueError(f"the model {name!r} has no letter or digit to make an id of")
        return Competitor(arena, model, name)

    return identify
