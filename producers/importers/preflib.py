"""PrefLib `.soc`: complete rankings of a few alternatives, each with the number of people who gave it.

A header ``# KEY: value`` names the alternatives (``ALTERNATIVE NAME 1``), title and publication date; then
each line is ``count: 3,1,2,4``, best alternative first. K is the number of alternatives, 2 to 8.

- A line becomes `count` votes. The file says nothing of their order, and methods that depend on one would see
  all equal ballots in a row: the votes are shuffled, by a generator seeded with the file's content.
- Slots are the alternatives in their order. Voters are not known.
- Times are deterministic: vote i is dated i ms after the publication date.
- The alternatives' numbers are kept as the models' tags: in data with a known truth (00024, dots), it is that
  order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from pipeline.contracts.arena import Arena, Model
from pipeline.contracts.ballot import K_MAX, K_MIN
from pipeline.contracts.vote import Vote
from producers.importers.errors import ImportFault
from producers.importers.source import (
    ImportedArena,
    ImportOptions,
    ImportSummary,
    make_id,
    require_arena_id,
    take_fingerprint,
)

_ALTERNATIVE = re.compile(r"ALTERNATIVE NAME (\d+)")
_BALLOT = re.compile(r"\s*(\d+)\s*:\s*(\d+(?:\s*,\s*\d+)*)\s*")

_TRUTHS: Final = {"00024-": "; the true order is that of the alternatives: 1 has the fewest dots and is best"}
"""What is known of whole series, by the start of the file's name."""


@dataclass(frozen=True, slots=True)
class _Profile:
    """A parsed file: `ballots` holds (count, ranks in the order of the alternatives)."""

    title: str
    published: int
    names: tuple[str, ...]
    models: tuple[str, ...]
    ballots: tuple[tuple[int, tuple[int, ...]], ...]


def read_arenas(path: Path, options: ImportOptions) -> list[ImportedArena]:
    """Return the file's one arena. Raises `ImportFault`."""
    profile = _read_profile(path)
    truth = next((text for start, text in _TRUTHS.items() if path.name.startswith(start)), "")
    models = [
        Model(id=model, name=name, tags=(f"alternative-{number}",))
        for number, (model, name) in enumerate(zip(profile.models, profile.names, strict=True), start=1)
    ]
    return [
        ImportedArena(
            arena=Arena(id=_arena_id(path, profile, options), title=profile.title, k=len(models), modes=("rank",)),
            models=tuple(sorted(models, key=lambda model: model.id)),
            since=profile.published,
            note=f"imported from PrefLib's {path.name}{truth}",
        )
    ]


def read_votes(path: Path, options: ImportOptions, summary: ImportSummary) -> Iterator[Vote]:
    """Iterate over the file's votes. Raises `ImportFault`."""
    profile = _read_profile(path)
    fingerprint = take_fingerprint(path)
    arena = _arena_id(path, profile, options)
    ballots = np.repeat(np.arange(len(profile.ballots)), [count for count, _ in profile.ballots])
    shuffled = np.random.default_rng(int.from_bytes(fingerprint.content)).permutation(ballots)
    for row, ballot in enumerate(shuffled.tolist()):
        summary.take(arena)
        yield Vote(
            vote_id=fingerprint.row_id("vote", arena, row),
            matchup_id=fingerprint.row_id("matchup", arena, row),
            arena=arena,
            time=profile.published + row,
            models=profile.models,
            ranks=profile.ballots[ballot][1],
        )


def _arena_id(path: Path, profile: _Profile, options: ImportOptions) -> str:
    return require_arena_id(path, options.arena_id or make_id(profile.title))


def _read_profile(path: Path) -> _Profile:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise ImportFault(path, None, error.strerror or str(error)) from None
    except UnicodeDecodeError as error:
        raise ImportFault(path, None, f"is not UTF-8: {error}") from None
    header, ballots = _split_lines(path, lines)
    names = _read_names(path, header)
    models = tuple(make_id(name) for name in names)
    if not all(models) or len(set(models)) < len(models):
        raise ImportFault(path, None, f"the names of its alternatives give no distinct ids: {', '.join(names)}")
    return _Profile(
        title=header.get("TITLE") or path.stem,
        published=_read_date(path, header),
        names=names,
        models=models,
        ballots=tuple((count, _rank_order(path, line, order, len(models))) for line, count, order in ballots),
    )


def _split_lines(path: Path, lines: list[str]) -> tuple[dict[str, str], list[tuple[int, int, list[int]]]]:
    """Return the header, and (line, count, alternatives best first) of each ballot."""
    header: dict[str, str] = {}
    ballots = []
    for line, text in enumerate(lines, start=1):
        if text.startswith("#"):
            key, _, value = text[1:].partition(":")
            header[key.strip().upper()] = value.strip()
        elif text.strip():
            match = _BALLOT.fullmatch(text)
            if match is None:
                raise ImportFault(path, line, f"{text!r} is not COUNT: ALTERNATIVE,ALTERNATIVE,...")
            ballots.append((line, int(match[1]), [int(number) for number in match[2].split(",")]))
    return header, ballots


def _read_names(path: Path, header: dict[str, str]) -> tuple[str, ...]:
    numbered = {int(match[1]): text for key, text in header.items() if (match := _ALTERNATIVE.fullmatch(key))}
    if not K_MIN <= len(numbered) <= K_MAX:
        message = f"names {len(numbered)} alternatives in its header; a vote ranks {K_MIN} to {K_MAX} models"
        raise ImportFault(path, None, message)
    if sorted(numbered) != list(range(1, len(numbered) + 1)):
        raise ImportFault(path, None, f"numbers its alternatives {sorted(numbered)}, not from 1 on")
    return tuple(numbered[number] for number in sorted(numbered))


def _read_date(path: Path, header: dict[str, str]) -> int:
    text = header.get("PUBLICATION DATE", "")
    try:
        published = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise ImportFault(path, None, f"its PUBLICATION DATE {text!r} is not YYYY-MM-DD") from None
    return int(published.timestamp()) * 1000


def _rank_order(path: Path, line: int, order: list[int], k: int) -> tuple[int, ...]:
    """Turn alternatives, best first, into the rank of each alternative."""
    if sorted(order) != list(range(1, k + 1)):
        raise ImportFault(path, line, f"the ranking {order} does not hold each of the {k} alternatives once")
    return tuple(order.index(alternative) + 1 for alternative in range(1, k + 1))
