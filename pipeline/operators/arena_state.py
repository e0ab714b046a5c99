"""What the job knows of one arena: counts, filters, tallies and open matchups."""

from __future__ import annotations

from collections import deque

import msgspec
import numpy as np

from pipeline.contracts.ballot import Ballots, Mode
from pipeline.contracts.matchup import Matchup
from pipeline.operators.archive_rows import Repeated
from pipeline.rating import average, elo, ksort_filter
from pipeline.rating.average import AverageState
from pipeline.rating.count_accumulator import CountAccumulator
from pipeline.rating.elo import EloState
from pipeline.rating.ksort_filter import KsortState
from pipeline.rating.pair_counts import PairCounts

_RATE_SPAN_MS = 60_000


class RecentCount:
    """How often something happened within the last minute of wall clock."""

    def __init__(self) -> None:
        self._noted: deque[tuple[int, int]] = deque()

    def note(self, now: int, count: int) -> None:
        """Note that it happened `count` times around `now` (ms)."""
        while self._noted and not now - _RATE_SPAN_MS <= self._noted[0][0] <= now:
            self._noted.popleft()
        if self._noted and self._noted[-1][0] == now:
            count += self._noted.pop()[1]
        if count:
            self._noted.append((now, count))

    def total(self, now: int) -> int:
        """Return the count of the minute before `now`; what a clock put back has left in the future is none."""
        return sum(count for at, count in self._noted if now - _RATE_SPAN_MS <= at <= now)


class StoredArena(msgspec.Struct, frozen=True, kw_only=True):
    """The part of an arena's state that is stored as one blob; counts are stored as deltas of their own."""

    votes: int = 0
    as_of: int | None = None
    tallies: dict[str, tuple[int, int, int]] = {}
    open_matchups: tuple[Matchup, ...] = ()
    ksort: bytes = b""
    elo: bytes = b""


class ArenaState:
    """State of one arena. Models are registry indices.

    Attributes
    ----------
    votes : int
        Accepted votes that are not retracted.
    as_of : int or None
        Largest append time among them, ms.
    pool : frozenset of str
        Prompt ids to keep a tally of from now on.
    tallies : dict of prompt id to [votes, all_bad, skip]
    open_matchups : dict of matchup_id to Matchup
    average : AverageState
        As of the end of the last block; stored on its own, for it changes rarely and holds the counts of that time.
    recent_votes, recent_answers : RecentCount
        Votes accepted, and open matchups that they answered, within the last minute.
    changed, average_changed : bool
        Whether anything, whether `average` changed since the last commit.
    """

    def __init__(
        self, stored: StoredArena | None = None, counts: PairCounts | None = None, average_blob: bytes = b""
    ) -> None:
        stored = stored or StoredArena()
        self.votes = stored.votes
        self.as_of = stored.as_of
        self.pool: frozenset[str] = frozenset()
        self.tallies = {prompt: list(tally) for prompt, tally in stored.tallies.items()}
        self.open_matchups = {matchup.matchup_id: matchup for matchup in stored.open_matchups}
        self.ksort = KsortState.from_bytes(stored.ksort) if stored.ksort else KsortState.initial(0)
        self.elo = EloState.from_bytes(stored.elo) if stored.elo else EloState.initial(0)
        self.average = AverageState.from_bytes(average_blob) if average_blob else AverageState.initial()
        self.average_changed = False
        self.counts = CountAccumulator(len(self.ksort))
        if counts is not None:
            self.counts.merge(counts)
            self.counts.take_delta()
        self.changed = False
        self.recent_votes = RecentCount()
        self.recent_answers = RecentCount()

    def grow(self, n_models: int) -> None:
        """Make room for models that became known."""
        if n_models > len(self.ksort):
            self.counts.grow(n_models)
            self.ksort = self.ksort.grow(n_models)
            self.elo = self.elo.grow(n_models)

    def carry_on(self, before: ArenaState) -> None:
        """Take over what is no function of the votes: this is the same arena, computed again."""
        self.open_matchups = before.open_matchups
        self.recent_votes = before.recent_votes
        self.recent_answers = before.recent_answers
        self.changed = True
        self.average_changed = True

    def apply_votes(self, ballots: Ballots, as_of: int, prompts: Repeated) -> None:
        """Add votes, in order.

        Parameters
        ----------
        ballots
            n ballots over this arena's model indices.
        as_of
            Largest append time among them, ms.
        prompts
            Prompt ids of the n votes.
        """
        if not len(ballots):
            return
        self.counts.add_ballots(ballots)
        self.ksort = ksort_filter.rate_ballots(self.ksort, ballots)
        self.elo = elo.rate_ballots(self.elo, ballots)
        self.votes += len(ballots)
        self.as_of = max(self.as_of or as_of, as_of)
        self._tally(ballots, prompts)
        self.changed = True

    def end_block(self) -> None:
        """End a block of `average` here, if the arena has grown enough since the last one."""
        if average.is_block_end(self.average, self.votes):
            self.average = average.end_block(self.average, self.counts.freeze(), self.votes)
            self.average_changed = True

    def mark_committed(self) -> None:
        """Forget what changed."""
        self.changed = False
        self.average_changed = False

    def _tally(self, ballots: Ballots, prompts: Repeated) -> None:
        if not self.pool:
            return
        size = len(prompts.words)
        known = prompts.codes >= 0
        votes = np.bincount(prompts.codes[known], minlength=size)
        all_bad = np.bincount(prompts.codes[known & (ballots.modes == Mode.ALL_BAD)], minlength=size)
        skips = np.bincount(prompts.codes[known & (ballots.modes == Mode.SKIP)], minlength=size)
        for code in np.flatnonzero(votes).tolist():
            if (prompt := prompts.words[code]) in self.pool:
                tally = self.tallies.setdefault(prompt, [0, 0, 0])
                tally[0] += int(votes[code])
                tally[1] += int(all_bad[code])
                tally[2] += int(skips[code])

    def close_matchup(self, matchup_id: str, now: int) -> None:
        """Take a matchup that was answered around the wall clock time `now` (ms) off the open ones."""
        del self.open_matchups[matchup_id]
        self.recent_answers.note(now, 1)
        self.changed = True

    def freeze(self) -> StoredArena:
        """Return the state as stored."""
        return StoredArena(
            votes=self.votes,
            as_of=self.as_of,
            tallies={prompt: (a, b, c) for prompt, (a, b, c) in self.tallies.items()},
            open_matchups=tuple(self.open_matchups.values()),
            ksort=self.ksort.to_bytes(),
            elo=self.elo.to_bytes(),
        )
