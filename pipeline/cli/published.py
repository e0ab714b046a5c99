"""What verbs that read a store share: open it, and choose an arena and a method that it has."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.output import fail, misuse

if TYPE_CHECKING:
    from pipeline.store.reader import StoreReader


def open_store(folder: Path) -> StoreReader:
    """Open the store in `folder` for reading. Raises `ReaderError` where there is none."""
    from pipeline.store.reader import StoreReader

    return StoreReader(folder)


def choose_arena(known: Iterable[str], asked: str | None) -> str:
    """Return the arena asked for, or the only one. Wrong use, with a list, if that leaves a choice."""
    arenas = choose_arenas(known, asked)
    if not arenas:
        fail("the store has no arena yet: send votes or apply an arena file, and run the job")
    if len(arenas) > 1:
        misuse(f"the store has {len(arenas)} arenas; choose one with --arena: {', '.join(arenas)}")
    return arenas[0]


def choose_arenas(known: Iterable[str], asked: str | None) -> list[str]:
    """Return the arena asked for, or all. Wrong use, with a list, if it is not known."""
    arenas = sorted(known)
    if asked is None:
        return arenas
    if asked not in arenas:
        misuse(f"the store has no arena {asked!r}; it has {', '.join(arenas) or 'none yet'}")
    return [asked]


def choose_method(published: Iterable[str], asked: str | None) -> str:
    """Return the method asked for, or the first of `METHODS` that is published."""
    from pipeline.contracts.snapshot import METHODS

    known = list(published)
    ordered = [*(m for m in METHODS if m in known), *sorted(m for m in known if m not in METHODS)]
    if not ordered:
        fail("no board of this arena is published yet: wait for the job's first fit")
    if asked is None:
        return ordered[0]
    if asked not in ordered:
        misuse(f"no board by the method {asked!r} is published; published are {', '.join(ordered)}")
    return asked
