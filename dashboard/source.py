"""What the pages read: the published files of a store, through one reader that all sessions of the app share.

What was read is kept for a while (`dashboard.pace`), so that the store is read no more often however many people watch.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar

import msgspec
import pyarrow as pa

from dashboard.notices import Notice, no_arenas, no_store, unreadable_store
from dashboard.pace import KEPT, KEPT_DEAR, KEPT_VOTES, LATE
from dashboard.pairs.table import PairTable, tabulate_pairs
from dashboard.recent_answers import RecentAnswers, choose_answers
from dashboard.trend import POINTS
from pipeline.contracts.arena import Registry
from pipeline.contracts.retractions import Retractions
from pipeline.contracts.snapshot import Publication
from pipeline.contracts.status import Sample
from pipeline.contracts.store import StoreError
from pipeline.store.errors import ReaderError
from pipeline.store.manifest import Heartbeat, Manifest
from pipeline.store.reader import StoreReader

KEPT_ANSWERS: Final = 64
"""Of one kind; the least recently asked for goes first."""
RECENT_VOTES: Final = 20_000
"""Archived rows that pages look at, of all arenas."""
RECENT_LETTERS: Final = 1_000
"""Dead letters that operators see, of each reason."""

_LOGGER: Final = logging.getLogger(__name__)

T = TypeVar("T")
K = TypeVar("K")


class Reader(Protocol):
    """The part of `StoreReader` that the pages use."""

    def manifest(self) -> Manifest:
        """Return the store's manifest."""
        ...

    def heartbeat(self) -> Heartbeat | None:
        """Return the last sign of life of the store's writer."""
        ...

    def recent(self) -> tuple[Sample, ...]:
        """Return the figures of the job's last hour."""
        ...

    def publication(self, arena: str) -> Publication:
        """Return what is published of an arena."""
        ...

    def history(
        self,
        arena: str,
        method: str | None = None,
        models: Sequence[str] | None = None,
        since: int | None = None,
        until: int | None = None,
        boards: int | None = None,
    ) -> pa.Table:
        """Return past boards."""
        ...

    def precision(self, arena: str, method: str | None = None) -> pa.Table:
        """Return how sure past boards were."""
        ...

    def publication_with_counts(self, arena: str) -> tuple[Publication, pa.Table]:
        """Return what is published of an arena, with its count table."""
        ...

    def recent_votes(self, count: int) -> pa.Table:
        """Return the newest archived rows."""
        ...

    def retractions(self) -> Retractions:
        """Return which archived votes do not count."""
        ...

    def dead_letters(self, limit: int | None = None, reason: str | None = None) -> pa.Table:
        """Return the newest dead letters."""
        ...


@dataclass(frozen=True, slots=True)
class Overview:
    """The arenas of a store: id -> title, in order of their ids."""

    titles: dict[str, str]


class UnavailableError(Exception):
    """There is nothing to show; `notice` says what to tell the reader."""

    def __init__(self, notice: Notice) -> None:
        super().__init__(notice.text)
        self.notice = notice


class _Kept(Generic[T]):
    """The last answer to one question, asked again after some seconds. An answer may be an exception.

    With `helper` a reader who comes when it is due still gets the last one, unless it is an exception or more than
    `LATE` too old, and the helper asks: nobody waits for what takes long.
    """

    def __init__(self, ask: Callable[[], T], seconds: float = KEPT, helper: Executor | None = None) -> None:
        self._ask = ask
        self._seconds = seconds
        self._helper = helper
        self._lock = threading.Lock()
        self._is_asked = False
        self._kept = 0
        self._answer: T | UnavailableError | None = None
        self._until = 0.0

    def get(self, *, anew: bool = False) -> T:
        """Return the answer; `anew`: asked for now in any case."""
        with self._lock:
            late = time.monotonic() - self._until
            if anew or late >= 0:
                can_wait = self._answer is not None and not isinstance(self._answer, UnavailableError) and late < LATE
                if anew or self._helper is None or not can_wait:
                    self._keep(self._find())
                elif not self._is_asked:
                    self._is_asked = True
                    self._helper.submit(self._find_and_keep, self._kept)
            answer = self._answer
        if isinstance(answer, UnavailableError):
            raise UnavailableError(answer.notice)
        assert answer is not None
        return answer

    def _find(self) -> T | UnavailableError:
        try:
            return self._ask()
        except UnavailableError as error:
            return error

    def _find_and_keep(self, kept: int) -> None:
        """Ask; `kept`: how many answers there were. What came meanwhile was asked for later, and stays."""
        try:
            found = self._find()
        except Exception:
            _LOGGER.exception("what the pages show could not be found out")
            with self._lock:
                self._is_asked = False  # the next reader asks again, and meets the error once the answer is too old
            return
        with self._lock:
            if kept == self._kept:
                self._keep(found)

    def _keep(self, answer: T | UnavailableError) -> None:
        self._kept += 1
        self._answer = answer
        self._until = time.monotonic() + self._seconds
        self._is_asked = False


class _KeptByKey(Generic[K, T]):
    """The last answers to questions of one kind, those asked most recently."""

    def __init__(self, ask: Callable[[K], T], seconds: float = KEPT, helper: Executor | None = None) -> None:
        self._ask = ask
        self._seconds = seconds
        self._helper = helper
        self._lock = threading.Lock()
        self._kept: OrderedDict[K, _Kept[T]] = OrderedDict()

    def get(self, key: K) -> T:
        with self._lock:
            kept = self._kept.setdefault(key, _Kept(lambda: self._ask(key), self._seconds, self._helper))
            self._kept.move_to_end(key)
            while len(self._kept) > KEPT_ANSWERS:
                self._kept.popitem(last=False)
        return kept.get()


class Source:
    """Reads the store at `path` for all sessions. Every method raises `UnavailableError`, with words for it."""

    def __init__(self, path: Path, reader: Reader | None = None) -> None:
        self.path = path
        self._reader: Reader = reader or StoreReader(path)
        self._overview = _Kept(self._read_overview)
        self._publications = _KeptByKey(self._read_publication)
        helper = ThreadPoolExecutor(1, "source")
        self._histories = _KeptByKey(self._read_history, KEPT_DEAR, helper)
        self._precisions = _KeptByKey(self._read_precision, KEPT_DEAR, helper)
        self._pairs = _KeptByKey(self._read_pairs, KEPT_DEAR, helper)
        self._votes = _Kept(lambda: self._guard(self._read_votes), KEPT_VOTES)
        self._answers: _KeptByKey[str, RecentAnswers] = _KeptByKey(
            lambda arena: choose_answers(self._votes.get(), arena), KEPT_VOTES, helper
        )
        self._letters: _KeptByKey[str | None, pa.Table] = _KeptByKey(
            lambda reason: self._guard(lambda: self._reader.dead_letters(RECENT_LETTERS, reason)), KEPT_VOTES, helper
        )
        self._beat = _Kept(lambda: (self._guard(self._reader.heartbeat),))
        self._recent = _Kept(lambda: self._guard(self._reader.recent))

    def overview(self, wanted: str | None = None) -> Overview:
        """Return the arenas that are published, at least one; read anew if `wanted` is not among those kept."""
        kept = self._overview.get()
        return kept if wanted is None or wanted in kept.titles else self._overview.get(anew=True)

    def publication(self, arena: str) -> Publication:
        """Return what is published of `arena`."""
        return self._publications.get(arena)

    def beat(self) -> Heartbeat | None:
        """Return the last sign of life of the store's writer; None if there was none ever."""
        return self._beat.get()[0]

    def heartbeat(self) -> int | None:
        """Return when the store's writer last showed that it lives, in ms; None if never."""
        beat = self.beat()
        return None if beat is None else beat.time

    def recent(self) -> tuple[Sample, ...]:
        """Return the figures of the job's last hour, oldest first."""
        return self._recent.get()

    def history(self, arena: str, method: str, models: Sequence[str]) -> pa.Table:
        """Return past boards, `models` only: as many as a chart draws."""
        return self._histories.get((arena, method, tuple(models)))

    def whole_history(self, arena: str, method: str, models: Sequence[str]) -> pa.Table:
        """Return all past boards, `models` only."""
        return self._guard(lambda: self._reader.history(arena, method, models))

    def precision(self, arena: str, method: str) -> pa.Table:
        """Return how sure past boards were."""
        return self._precisions.get((arena, method))

    def pairs(self, arena: str) -> PairTable:
        """Return what is known of each pair of models."""
        return self._pairs.get(arena)

    def answers(self, arena: str) -> RecentAnswers:
        """Return the newest votes of an arena that count, among the newest `RECENT_VOTES` of all."""
        return self._answers.get(arena)

    def dead_letters(self, limit: int, reason: str | None) -> pa.Table:
        """Return the newest dead letters with what they held, at most `RECENT_LETTERS`: for operators only."""
        letters = self._letters.get(reason)
        return letters.slice(max(0, len(letters) - limit))

    def _read_publication(self, arena: str) -> Publication:
        return self._guard(lambda: self._reader.publication(arena))

    def _read_history(self, asked: tuple[str, str, tuple[str, ...]]) -> pa.Table:
        return self._guard(lambda: self._reader.history(*asked, boards=POINTS))

    def _read_precision(self, asked: tuple[str, str]) -> pa.Table:
        return self._guard(lambda: self._reader.precision(*asked))

    def _read_pairs(self, arena: str) -> PairTable:
        publication, counts = self._guard(lambda: self._reader.publication_with_counts(arena))
        model_ids = [model.id for model in publication.registered.models]
        return tabulate_pairs(publication.commit, model_ids, counts)

    def _read_votes(self) -> pa.Table:
        votes, retractions = self._reader.recent_votes(RECENT_VOTES), self._reader.retractions()
        if not retractions:
            return votes
        counts = [batch.filter(pa.array(~retractions.affect(batch))) for batch in votes.to_batches()]
        return pa.Table.from_batches(counts, votes.schema)

    def _read_overview(self) -> Overview:
        manifest = self._guard(self._reader.manifest)
        if not manifest.arenas:
            raise UnavailableError(no_arenas(self.path))
        raw = bytes(manifest.registry)
        known = Registry() if raw == b"null" else self._guard(lambda: msgspec.json.decode(raw, type=Registry))
        titles = {}
        for arena in sorted(manifest.arenas):
            registered = known.arenas.get(arena)
            titles[arena] = (registered.arena.title if registered else None) or arena
        return Overview(titles)

    def _guard(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except ReaderError as error:
            raise UnavailableError(no_store(self.path) if error.retriable else self._unreadable(error)) from error
        except (StoreError, OSError, msgspec.MsgspecError) as error:
            raise UnavailableError(self._unreadable(error)) from error

    def _unreadable(self, error: Exception) -> Notice:
        return unreadable_store(str(error).replace(str(self.path), self.path.name))
