"""Publishing: after each commit the newest state of each arena that changed becomes boards, beside ingestion.

The owner's thread takes a copy of an arena's counts and filters when the publisher is free (`offer`); a thread of its
own fits and publishes it. While a fit runs, commits go on, and when it ends the newest state is taken next: a slow
fit delays boards and nothing else. An arena that cannot be rated, or whose files cannot be written, keeps what was
published of it last, which is said once; it is tried again at its next commit, because the same counts would give the
same error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa

from pipeline.contracts.arena import RegisteredArena
from pipeline.contracts.matchup import Matchup
from pipeline.contracts.snapshot import METHODS, Board, ModelRating, Publication
from pipeline.contracts.store import PublishError, Store
from pipeline.operators.rate import Rate
from pipeline.rating.average import MAX_MODELS, AverageState
from pipeline.rating.board import MethodBoard, rate_models
from pipeline.rating.elo import EloState
from pipeline.rating.errors import RatingError
from pipeline.rating.ksort_filter import KsortState
from pipeline.rating.pair_counts import PairCounts

_Failure = RatingError | PublishError

MIN_INTERVAL_MS = 500
"""Boards are published at most twice a second."""


@dataclass(frozen=True, slots=True)
class Page:
    """A copy of one arena's state at one commit."""

    commit: int
    log_time: int
    registered: RegisteredArena
    counts: PairCounts
    ksort: KsortState
    elo: EloState
    average: AverageState
    votes: int
    as_of: int | None
    open_matchups: tuple[Matchup, ...]
    tallies: dict[str, tuple[int, int, int]]


def copy_page(rate: Rate, arena_id: str) -> Page:
    """Copy what is to be published of an arena. Call it in the owner's thread, right after a commit."""
    state = rate.book.arenas[arena_id]
    return Page(
        commit=rate.last_commit,
        log_time=rate.book.log_time,
        registered=rate.book.registry.arenas[arena_id].freeze(),
        counts=state.counts.freeze(),
        ksort=state.ksort,
        elo=state.elo,
        average=state.average,
        votes=state.votes,
        as_of=state.as_of,
        open_matchups=tuple(state.open_matchups.values()),
        tallies={prompt: (a, b, c) for prompt, (a, b, c) in state.tallies.items()},
    )


def make_publication(page: Page, published_at: int, methods: Sequence[str] = METHODS) -> tuple[Publication, pa.Table]:
    """Compute the boards of a page. Raises `pipeline.rating.errors.FitError`: nothing half-fitted is published.

    An arena of more than `average.MAX_MODELS` models has no board by `average`.
    """
    model_ids = [model.id for model in page.registered.models]
    boards = {
        method: make_board(page, rate_models(method, model_ids, page.counts, page.ksort, page.elo, page.average))
        for method in methods
        if method != "average" or len(model_ids) <= MAX_MODELS
    }
    publication = Publication(
        arena=page.registered.arena.id,
        commit=page.commit,
        log_time=page.log_time,
        published_at=published_at,
        registered=page.registered,
        boards=boards,
        filters={
            "ksort": {"mu": page.ksort.mu.tolist(), "s2": page.ksort.s2.tolist()},
            "elo": {"ratings": page.elo.ratings.tolist()},
        },
        open_matchups=page.open_matchups,
        tallies=page.tallies,
    )
    return publication, pa.table(page.counts.to_columns())


def make_board(page: Page, rated: MethodBoard) -> Board:
    """Join a method's ratings with what is known of the models."""
    models = {model.id: model for model in page.registered.models}
    return Board(
        arena=page.registered.arena.id,
        method=rated.method,
        methodology=rated.methodology,
        as_of=page.as_of,
        votes=page.votes,
        commit=page.commit,
        log_time=page.log_time,
        parameters=rated.parameters,
        models=tuple(
            ModelRating(
                **{name: getattr(row, name) for name in row.__dataclass_fields__},
                name=models[row.model].name,
                organization=models[row.model].organization,
                license=models[row.model].license,
            )
            for row in rated.rows
        ),
    )


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of a page: published at `at` (ms), or what kept it from being rated."""

    commit: int
    at: int
    error: _Failure | None = None


class Publisher:
    """Publishes one store's arenas from a thread of its own.

    Parameters
    ----------
    store
    clock
        Wall clock in ms.
    announce
        Takes one line for people; called in the owner's thread.
    on_published
        Takes arena, commit and time (ms) of each board that readers can see; called in the owner's thread.
    """

    def __init__(
        self,
        store: Store,
        clock: Callable[[], int],
        *,
        announce: Callable[[str], None] = lambda _: None,
        on_published: Callable[[str, int, int], None] = lambda _arena, _commit, _at: None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._announce = announce
        self._on_published = on_published
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="publish")
        self._running: Future[dict[str, _Outcome]] | None = None
        self._pending: set[str] = set()
        self._failed: set[str] = set()
        self._last: int | None = None

    def note_changes(self, arena_ids: Sequence[str]) -> None:
        """Note arenas whose newest commit is to be published."""
        self._pending.update(arena_ids)

    def offer(self, rate: Rate) -> None:
        """Take the pending arenas of `rate` if the publisher is free and the last time is long enough ago.

        Call it after each commit and on ticks. Raises `StoreError` if the last publication did.
        """
        if self._running is not None and not self._running.done():
            return
        self._collect()
        now = self._clock()
        # A clock that was put back must not stop publication until it has caught up.
        is_too_soon = self._last is not None and 0 <= now - self._last < MIN_INTERVAL_MS
        if not self._pending or is_too_soon:
            return
        self._last = now
        self._running = self._thread.submit(self._publish, self._take_pages(rate))

    def finish(self, rate: Rate) -> None:
        """Publish everything that is pending, and return when it is done."""
        self._collect()
        self._report(self._publish(self._take_pages(rate)))

    def close(self) -> None:
        """End the thread, after the publication in progress."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _take_pages(self, rate: Rate) -> list[Page]:
        pages = [copy_page(rate, arena_id) for arena_id in sorted(self._pending)]
        self._pending.clear()
        return pages

    def _collect(self) -> None:
        if self._running is not None:
            running, self._running = self._running, None
            self._report(running.result())

    def _report(self, outcomes: dict[str, _Outcome]) -> None:
        for arena_id, outcome in outcomes.items():
            if outcome.error is None:
                self._failed.discard(arena_id)
                self._on_published(arena_id, outcome.commit, outcome.at)
            elif arena_id not in self._failed:
                self._failed.add(arena_id)
                what = "rated" if isinstance(outcome.error, RatingError) else "published"
                self._announce(f"arena {arena_id} cannot be {what}, and its board stays as it is: {outcome.error}")

    def _publish(self, pages: list[Page]) -> dict[str, _Outcome]:
        """Publish `pages`; return by arena what became of it."""
        outcomes: dict[str, _Outcome] = {}
        for page in pages:
            failure: _Failure | None = None
            try:
                self._store.publish([make_publication(page, self._clock())])
            except (RatingError, PublishError) as error:
                failure = error
            outcomes[page.registered.arena.id] = _Outcome(page.commit, self._clock(), failure)
        return outcomes
