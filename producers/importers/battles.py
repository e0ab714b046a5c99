"""Battles: the JSON of FastChat's arenas, which LMArena and GenAI-Arena publish; votes between two models.

A file is one array or JSON lines. Of each battle these fields are read:

=============
================================================================================================== model_a, _b
names of the two models; a battle of a model with itself is left out winner         ``model_a``, ``model_b``,
``tie`` (both rank 1), ``tie (bothbad)`` or ``both_bad`` (mode `all_bad`) tstamp         seconds since 1970
judge          whoever voted: hashed anony          false = the models' names were in view; left out unless
`include_named`. Absent = true =============
==================================================================================================

Slots are a, b: the order in which they were shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec

from pipeline.contracts.arena import Arena, Model
from pipeline.contracts.vote import Vote
from producers.importers.errors import ImportFault
from producers.importers.model_table import describe_model, find_model_table
from producers.importers.source import (
    Fingerprint,
    ImportedArena,
    ImportOptions,
    ImportSummary,
    take_fingerprint,
)

_RANKS: dict[str, tuple[int, int] | None] = {
    "model_a": (1, 2),
    "model_b": (2, 1),
    "tie": (1, 1),
    "tie (bothbad)": None,
    "both_bad": None,
    "bothbad": None,
}

_END_OF_TIME = 1e11


class _Battle(msgspec.Struct, frozen=True):
    model_a: str
    model_b: str
    winner: str
    tstamp: float
    judge: str | None = None
    anony: bool = True


_BATTLE = msgspec.json.Decoder(_Battle)


@dataclass(frozen=True, slots=True)
class Competitor:
    """A model as a battle names it: the arena it plays in, its id there, and its name."""

    arena: str
    id: str
    name: str


Identify = Callable[[str], Competitor | str]
"""From a model's name in the file to the competitor, or to the reason why its battles are left out.

Raises `ValueError` for a name that makes no sense in the format.
"""


@dataclass(slots=True)
class _Found:
    """What was found of one arena."""

    since: int
    names: dict[str, str] = field(default_factory=dict)


def read_battle_votes(path: Path, options: ImportOptions, summary: ImportSummary, identify: Identify) -> Iterator[Vote]:
    """Iterate over the votes of a file of battles. Raises `ImportFault`."""
    fingerprint = take_fingerprint(path)
    for row, battle, where in _read_battles(path):
        pair = _identify_pair(path, battle, where, options, identify)
        if isinstance(pair, str):
            summary.skip(pair)
            continue
        summary.take(pair[0].arena)
        yield _cast_vote(battle, row, pair, fingerprint, options.salt)


def read_battle_arenas(
    path: Path, options: ImportOptions, identify: Identify, *, titles: Callable[[str], str], note: str
) -> list[ImportedArena]:
    """Return the arenas that `read_battle_votes` has votes for, sorted by id. Raises `ImportFault`."""
    arenas: dict[str, _Found] = {}
    for _, battle, where in _read_battles(path):
        pair = _identify_pair(path, battle, where, options, identify)
        if isinstance(pair, str):
            continue
        found = arenas.setdefault(pair[0].arena, _Found(_time_of(battle)))
        found.since = min(found.since, _time_of(battle))
        for competitor in pair:
            other = found.names.setdefault(competitor.id, competitor.name)
            if other != competitor.name:
                message = f"the models {other!r} and {competitor.name!r} would both have the id {competitor.id}"
                raise ImportFault(path, where(), message)
    table = find_model_table(path, options.models)
    return [
        ImportedArena(
            arena=Arena(id=arena, title=titles(arena), k=2, modes=("rank", "all_bad")),
            models=_describe_models(arenas[arena].names, table),
            since=arenas[arena].since,
            note=note,
        )
        for arena in sorted(arenas)
    ]


def _describe_models(names: dict[str, str], table: dict[str, dict[str, str]]) -> tuple[Model, ...]:
    return tuple(describe_model(model, names[model], table) for model in sorted(names))


def _identify_pair(
    path: Path, battle: _Battle, where: Callable[[], int], options: ImportOptions, identify: Identify
) -> tuple[Competitor, Competitor] | str:
    """Return both competitors of a battle that is imported, or why it is left out."""
    if battle.winner not in _RANKS:
        message = f"unknown winner {battle.winner!r}; known are {', '.join(map(repr, _RANKS))}"
        raise ImportFault(path, where(), message)
    if not battle.anony and not options.include_named:
        return "cast with the models' names in view (--include-named takes them)"
    if not 0 <= battle.tstamp < _END_OF_TIME:
        raise ImportFault(path, where(), f"its tstamp {battle.tstamp} is not a time in seconds since 1970")
    try:
        first, second = identify(battle.model_a), identify(battle.model_b)
    except ValueError as error:
        raise ImportFault(path, where(), str(error)) from None
    if isinstance(first, str) or isinstance(second, str):
        return first if isinstance(first, str) else str(second)
    if first.arena != second.arena:
        return "between models of two tasks"
    if first.id == second.id:
        return "of a model with itself"
    return first, second


def _cast_vote(
    battle: _Battle,
    row: int,
    pair: tuple[Competitor, Competitor],
    fingerprint: Fingerprint,
    salt: str | None,
) -> Vote:
    ranks = _RANKS[battle.winner]
    return Vote(
        vote_id=fingerprint.row_id("vote", pair[0].arena, row),
        matchup_id=fingerprint.row_id("matchup", pair[0].arena, row),
        arena=pair[0].arena,
        time=_time_of(battle),
        voter=None if battle.judge is None else fingerprint.hide_voter(battle.judge, salt),
        mode="rank" if ranks else "all_bad",
        models=(pair[0].id, pair[1].id),
        ranks=ranks,
    )


def _time_of(battle: _Battle) -> int:
    return round(battle.tstamp * 1000)


def _read_battles(path: Path) -> Iterator[tuple[int, _Battle, Callable[[], int]]]:
    """Iterate over (row from 1, battle, function that finds the row's line)."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ImportFault(path, None, error.strerror or str(error)) from None
    if content.lstrip()[:1] == b"[":
        yield from _read_array(path, content)
    else:
        yield from _read_lines(path, content)


def _read_array(path: Path, content: bytes) -> Iterator[tuple[int, _Battle, Callable[[], int]]]:
    try:
        raws = msgspec.json.decode(content, type=list[msgspec.Raw])
    except msgspec.DecodeError as error:
        raise ImportFault(path, _line_of_error(content, str(error)), f"is not JSON: {error}") from None

    def line_of(row: int) -> int:
        """Count the lines before a row; only errors pay for it."""
        place = 0
        for raw in raws[: row - 1]:
            place = content.index(raw, place) + len(raw)
        return content.count(b"\n", 0, content.index(raws[row - 1], place)) + 1

    for row, raw in enumerate(raws, start=1):
        try:
            battle = _BATTLE.decode(raw)
        except msgspec.ValidationError as error:
            raise ImportFault(path, line_of(row), f"battle {row}: {error}") from None
        yield row, battle, partial(line_of, row)


def _read_lines(path: Path, content: bytes) -> Iterator[tuple[int, _Battle, Callable[[], int]]]:
    for line, text in enumerate(content.split(b"\n"), start=1):
        if not text.strip():
            continue
        try:
            battle = _BATTLE.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ImportFault(path, line, f"is no battle: {error}") from None
        yield line, battle, partial(int, line)


def _line_of_error(content: bytes, message: str) -> int | None:
    """Find the line that a decoder's "(byte N)" lies in."""
    _, _, tail = message.rpartition("(byte ")
    digits = tail.rstrip(")")
    return content.count(b"\n", 0, int(digits)) + 1 if digits.isdecimal() else None
