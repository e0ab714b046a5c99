"""GenAI-Arena (TIGER-AI-Lab): battles of image and video models; see `producers.importers.battles`.

A name is LIBRARY_MODEL_TASK: ``imagenhub_SDXLTurbo_generation`` is the model SDXLTurbo of the arena
`text-to-image`, ``imagenhub_MagicBrush_edition`` MagicBrush of `image-editing`. That is how the project's
leaderboard CSV calls them.

With an arena id, only votes for that arena are taken; an id that is none of the format's own renames
`text-to-image`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pipeline.contracts.vote import Vote
from producers.importers.battles import Competitor, Identify, read_battle_arenas, read_battle_votes
from producers.importers.source import ImportedArena, ImportOptions, ImportSummary, make_id, require_arena_id

_MAIN: Final = "text-to-image"
_TASKS: Final = {
    ("imagenhub", "generation"): _MAIN,
    ("imagenhub", "text2image"): _MAIN,
    ("imagenhub", "edition"): "image-editing",
    ("imagenhub", "imageedition"): "image-editing",
    ("videogenhub", "generation"): "text-to-video",
}
_TITLES: Final = {_MAIN: "Text to image", "image-editing": "Image editing", "text-to-video": "Text to video"}


def read_arenas(path: Path, options: ImportOptions) -> list[ImportedArena]:
    """Return the arenas that the file has votes for. Raises `ImportFault`."""
    identify = _make_identify(path, options)
    note = f"imported from GenAI-Arena's {path.name}"
    return read_battle_arenas(
        path, options, identify, titles=lambda arena: _TITLES.get(arena, _TITLES[_MAIN]), note=note
    )


def read_votes(path: Path, options: ImportOptions, summary: ImportSummary) -> Iterator[Vote]:
    """Iterate over the file's votes. Raises `ImportFault`."""
    return read_battle_votes(path, options, summary, _make_identify(path, options))


def _make_identify(path: Path, options: ImportOptions) -> Identify:
    asked = None if options.arena_id is None else require_arena_id(path, options.arena_id)
    wanted = asked if asked in _TITLES else _MAIN

    def identify(full_name: str) -> Competitor | str:
        library, _, rest = full_name.partition("_")
        name, _, kind = rest.rpartition("_")
        model = make_id(name)
        if not model:
            raise ValueError(f"the model {full_name!r} is not named LIBRARY_MODEL_TASK")
        task = _TASKS.get((library, kind))
        if task is None:
            return f"of another task: {library} {kind}"
        if asked is not None and task != wanted:
            return f"for another arena: {task}"
        return Competitor(asked or task, model, name)

    return identify
