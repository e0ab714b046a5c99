"""K-wise votes in a simple format of our own, for arenas in the manner of K-Sort Arena.

K-Sort Arena (arXiv 2408.14468) publishes no votes; this is what an export of such an arena is easily turned
into. A file is JSON lines or, with the suffix ``.csv``, a CSV with the same names in its header:

==========
===================================================================================================== models
names of the 2 to 8 models in the order shown; in a CSV separated by ``|`` ranks       one a model: smaller is
better, equal is tied, null (in a CSV: nothing) is unranked, which is only for answers with one best group.
Absent for `all_bad` and `skip` tstamp      seconds since 1970; or ``time``: ms since 1970 mode
optional: `rank`, `best`, `all_bad`, `skip`; absent: `best` if a model is unranked, else `rank` voter
optional: hashed ==========
=====================================================================================================

For example::

    {"models": ["SDXL", "Flux dev", "PixArt", "Kolors"], "ranks": [3, 1, 1, 4], "tstamp": 1724922000.5}

    models,ranks,tstamp,voter
    SDXL|Flux dev|PixArt|Kolors,3|1|1|4,1724922000.5,alice

Other fields are ignored. The arena is `ksort` unless another id is given; its k is that of most votes.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from pipeline.contracts.arena import Arena
from pipeline.contracts.vote import Vote, encode_vote
from producers.importers.errors import ImportFault
from producers.importers.model_table import describe_model, find_model_table
from producers.importers.source import (
    ImportedArena,
    ImportOptions,
    ImportSummary,
    make_id,
    require_arena_id,
    take_fingerprint,
)
from producers.importers.vote_check import check_vote

_ARENA: Final = "ksort"
_SEPARATOR: Final = "|"
_END_OF_TIME: Final = 1e11


class _Answer(msgspec.Struct, frozen=True):
    """One vote as the file has it."""

    models: tuple[str, ...]
    ranks: tuple[int | None, ...] | None = None
    tstamp: float | None = None
    time: int | None = None
    mode: str | None = None
    voter: str | None = None


def read_arenas(path: Path, options: ImportOptions) -> list[ImportedArena]:
    """Return the file's one arena; none if it has no votes. Raises `ImportFault`."""
    names: dict[str, str] = {}
    sizes: Counter[int] = Counter()
    times = []
    for line, vote, answer in _read_checked(path, options):
        for model, name in zip(vote.models, answer.models, strict=True):
            if names.setdefault(model, name) != name:
                message = f"the models {names[model]!r} and {name!r} would both have the id {model}"
                raise ImportFault(path, line, message)
        sizes[len(vote.models)] += 1
        times.append(vote.time)
    if not times:
        return []
    table = find_model_table(path, options.models)
    arena = Arena(
        id=require_arena_id(path, options.arena_id or _ARENA),
        title="K-wise votes",
        k=sizes.most_common(1)[0][0],
        modes=("rank", "best", "all_bad", "skip"),
    )
    models = tuple(describe_model(model, names[model], table) for model in sorted(names))
    return [ImportedArena(arena=arena, models=models, since=min(times), note=f"imported from {path.name}")]


def read_votes(path: Path, options: ImportOptions, summary: ImportSummary) -> Iterator[Vote]:
    """Iterate over the file's votes. Raises `ImportFault`."""
    for _, vote, _ in _read_checked(path, options):
        summary.take(vote.arena)
        yield vote


def _read_checked(path: Path, options: ImportOptions) -> Iterator[tuple[int, Vote, _Answer]]:
    """Iterate over (line, vote, what it was made from)."""
    fingerprint = take_fingerprint(path)
    arena = require_arena_id(path, options.arena_id or _ARENA)
    read = _read_csv if path.suffix.lower() == ".csv" else _read_json_lines
    for line, answer in read(path):
        if answer.time is None and answer.tstamp is None:
            raise ImportFault(path, line, "has neither tstamp (seconds since 1970) nor time (ms since 1970)")
        if answer.tstamp is not None and not 0 <= answer.tstamp < _END_OF_TIME:
            raise ImportFault(path, line, f"its tstamp {answer.tstamp} is not a time in seconds since 1970")
        best = answer.ranks is not None and None in answer.ranks
        vote = Vote(
            vote_id=fingerprint.row_id("vote", arena, line),
            matchup_id=fingerprint.row_id("matchup", arena, line),
            arena=arena,
            time=answer.time if answer.time is not None else round((answer.tstamp or 0.0) * 1000),
            voter=None if answer.voter is None else fingerprint.hide_voter(answer.voter, options.salt),
            mode=answer.mode or ("best" if best else "rank"),
            models=tuple(make_id(name) for name in answer.models),
            ranks=answer.ranks,
        )
        check_vote(path, line, encode_vote(vote))
        yield line, vote, answer


def _read_json_lines(path: Path) -> Iterator[tuple[int, _Answer]]:
    decoder = msgspec.json.Decoder(_Answer)
    try:
        with path.open("rb") as file:
            for line, text in enumerate(file, start=1):
                if text.strip():
                    yield line, decoder.decode(text)
    except OSError as error:
        raise ImportFault(path, None, error.strerror or str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ImportFault(path, line, f"is no vote: {error}") from None


def _read_csv(path: Path) -> Iterator[tuple[int, _Answer]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            if "models" not in (reader.fieldnames or ()):
                raise ImportFault(path, 1, "has no column models")
            for row in reader:
                yield reader.line_num, _parse_row(path, reader.line_num, row)
    except OSError as error:
        raise ImportFault(path, None, error.strerror or str(error)) from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise ImportFault(path, None, f"is not a CSV: {error}") from None


def _parse_row(path: Path, line: int, row: dict[str, Any]) -> _Answer:
    fields: dict[str, Any] = {name: text for name, text in row.items() if name and text}
    fields["models"] = [name.strip() for name in fields.get("models", "").split(_SEPARATOR)]
    if "ranks" in fields:
        fields["ranks"] = [rank.strip() or None for rank in fields["ranks"].split(_SEPARATOR)]
    try:
        return msgspec.convert(fields, _Answer, strict=False)
    except msgspec.ValidationError as error:
        raise ImportFault(path, line, f"is no vote: {error}") from None
