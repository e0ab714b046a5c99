"""A simulated arena: models with known skills, people and bots who vote on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import comb
from statistics import NormalDist
from typing import TYPE_CHECKING, Final, get_args

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.contracts.arena import Model, Prompt
from pipeline.contracts.ballot import K_MAX, K_MIN, MODE_NAMES
from pipeline.contracts.control import ControlEvent
from pipeline.contracts.ids import is_id, random_id
from pipeline.matchmaking.random_policy import NAME as RANDOM
from pipeline.matchmaking.random_policy import sample_sets
from producers.simulate.ballots import Answers, Habits, Judgement, answer_shown
from producers.simulate.catalogue import list_models, list_prompts
from producers.simulate.errors import SimulationError
from producers.simulate.faults import VoteBatch, mix_faults
from producers.simulate.wire import CastVotes, Context, Names, encode_votes, hex_ids, tabulate_cast_votes

if TYPE_CHECKING:
    from numpy.random import Generator

    from pipeline.contracts.matchup import Matchup

START_TIME: Final = 1_767_225_600_000
"""2026-01-01T00:00:00Z: a fixed time, so that the same seed gives the same bytes."""

RATE: Final = 10.0
"""Votes a second, by their times."""

# Votes are drawn in blocks, each from its own generator: vote i is the same however many are asked for.
_BLOCK: Final = 8192

_SHARES: Final = (
    "noise",
    "tie_rate",
    "best_share",
    "all_bad_share",
    "skip_share",
    "duplicates",
    "broken",
    "doubles",
)

# Streams of random numbers under one seed.
_SKILLS, _VOTERS, _EVENTS, _VOTES, _ANSWERS = range(5)


@dataclass(frozen=True, kw_only=True)
class SimulatedWorld:
    """An arena of models whose true order is known, and those who vote in it.

    Attributes
    ----------
    models : int
        Number of models.
    k : int
        Models in a matchup.
    noise : float
        Share of ballots that are a random permutation (the paper's noise).
    seed : int
        Decides everything: same settings and seed, same bytes.
    arena_id, title
        Of the arena; the title is made from the settings if it is None.
    judgement, blur, tie_rate, best_share, all_bad_share, skip_share
        How voters answer: `producers.simulate.ballots`.
    spread : float
        Standard deviation of the skills, which are evenly spaced quantiles of a normal distribution.
    voters, bots : int
        People and bots.
    bot_activity : float
        A bot votes as often as this many people.
    bot_favourite : str or None
        Model that bots put first; None: they order at random.
    prompts : int
        Prompts in the arena's pool, up to 24.
    require_token : bool
        Whether the arena takes votes of a gateway only.
    duplicates, broken, doubles : float
        Records added to each batch, as shares of its votes: repeated votes, records that must be refused, and
        second votes on a matchup.
    """

    models: int = 12
    k: int = 4
    noise: float = 0.05
    seed: int = 0
    arena_id: str = "simulated"
    title: str | None = None
    judgement: Judgement = "gumbel"
    blur: float = 1.0
    spread: float = 1.5
    tie_rate: float = 0.05
    best_share: float = 0.05
    all_bad_share: float = 0.01
    skip_share: float = 0.01
    voters: int = 500
    bots: int = 0
    bot_activity: float = 10.0
    bot_favourite: str | None = None
    prompts: int = 24
    require_token: bool = False
    duplicates: float = 0.0
    broken: float = 0.0
    doubles: float = 0.0

    def __post_init__(self) -> None:
        self._check_numbers()
        if self.judgement not in get_args(Judgement):
            raise SimulationError(f"unknown judgement {self.judgement!r}; known are {get_args(Judgement)}")
        if not is_id(self.arena_id):
            raise SimulationError(f"{self.arena_id!r} is not a valid arena id")
        if self.bot_favourite is not None and self.bot_favourite not in self.model_ids:
            raise SimulationError(f"the bots' favourite {self.bot_favourite!r} is none of the models")

    def _check_numbers(self) -> None:
        if not K_MIN <= self.k <= K_MAX:
            raise SimulationError(f"k = {self.k} must lie between {K_MIN} and {K_MAX}")
        if self.models < self.k:
            raise SimulationError(f"{self.models} models are too few for matchups of {self.k}")
        if self.voters < 1:
            raise SimulationError("there must be at least one voter")
        for name in ("bots", "prompts", "seed", "blur", "spread"):
            if getattr(self, name) < 0:
                raise SimulationError(f"{name} = {getattr(self, name)} must not be negative")
        for name in _SHARES:
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise SimulationError(f"{name} = {getattr(self, name)} must lie between 0 and 1")
        if self.best_share + self.all_bad_share + self.skip_share > 1.0:
            raise SimulationError("best_share, all_bad_share and skip_share together must not exceed 1")
        if self.bot_activity <= 0:
            raise SimulationError(f"bot_activity = {self.bot_activity} must be positive")

    @cached_property
    def catalogue(self) -> tuple[Model, ...]:
        """The models, in the order of their ids."""
        return list_models(self.models)

    @cached_property
    def model_ids(self) -> tuple[str, ...]:
        """Ids of the models, ascending."""
        return tuple(model.id for model in self.catalogue)

    @cached_property
    def skills(self) -> NDArray[np.float64]:
        """True skill of each model, float64 (models,), in the order of `model_ids`."""
        normal = NormalDist()
        places = [(place + 0.5) / self.models for place in range(self.models)]
        quantiles = self.spread * np.array([normal.inv_cdf(place) for place in places])
        return self._rng(_SKILLS).permutation(quantiles)

    @property
    def truth(self) -> list[str]:
        """Ids of the models, best first."""
        return [self.model_ids[index] for index in np.argsort(-self.skills, kind="stable")]

    @cached_property
    def voter_ids(self) -> tuple[str, ...]:
        """Ids of all voters: people, then bots."""
        ids = hex_ids(self.voters + self.bots, self._rng(_VOTERS))
        return tuple(f"v0.{voter.decode()}" for voter in ids.tolist())

    @property
    def bot_ids(self) -> tuple[str, ...]:
        """Ids of the voters that are bots."""
        return self.voter_ids[self.voters :]

    @cached_property
    def prompt_pool(self) -> tuple[Prompt, ...]:
        """The arena's prompts."""
        return list_prompts(self.prompts)

    def arena_events(self, time: int) -> list[ControlEvent]:
        """Return the control events that define the arena and its models, dated `time` (ms)."""
        rng = self._rng(_EVENTS)
        title = self.title or f"Simulated arena: {self.models} models, seed {self.seed}"
        arena = ControlEvent(
            schema=1,
            event_id=random_id(rng),
            type="arena.upsert",
            time=time,
            arena=self.arena_id,
            by="simulator",
            title=title,
            k=self.k,
            modes=MODE_NAMES,
            require_token=self.require_token or None,
            prompts=self.prompt_pool,
        )
        return [arena] + [
            ControlEvent(
                schema=1,
                event_id=random_id(rng),
                type="model.add",
                time=time,
                arena=self.arena_id,
                by="simulator",
                model=model,
            )
            for model in self.catalogue
        ]

    def votes(
        self,
        count: int,
        *,
        first: int = 0,
        start_time: int = START_TIME,
        rate: float = RATE,
        batch_size: int = _BLOCK,
    ) -> Iterator[list[bytes]]:
        """Iterate over batches of wire votes: the values of `batches`."""
        batches = self.batches(count, first=first, start_time=start_time, rate=rate, batch_size=batch_size)
        for batch in batches:
            yield batch.values

    def batches(
        self,
        count: int,
        *,
        first: int = 0,
        start_time: int = START_TIME,
        rate: float = RATE,
        batch_size: int = _BLOCK,
    ) -> Iterator[VoteBatch]:
        """Iterate over votes on matchups drawn uniformly at random.

        Parameters
        ----------
        count
            How many votes; records of `duplicates`, `broken` and `doubles` come on top.
        first
            Number of the first vote: ``first=n`` goes on where a run of n votes ended.
        start_time
            When vote 0 is cast, ms since 1970 UTC; later ones follow at `rate` votes a second.
        batch_size
            Most records in a batch; one may be shorter. It does not change the records.
        """
        for votes, rng, low, high in self._blocks(count, first, start_time, rate):
            batch = VoteBatch(encode_votes(votes, self._names), votes.matchup_ids.astype(str).tolist())
            batch = batch.part(low, high)
            if self.duplicates or self.broken or self.doubles:
                batch = mix_faults(batch, self.duplicates, self.broken, rng, doubles=self.doubles)
            for start in range(0, len(batch), batch_size):
                yield batch.part(start, start + batch_size)

    def tables(
        self, count: int, *, first: int = 0, start_time: int = START_TIME, rate: float = RATE
    ) -> Iterator[pa.Table]:
        """Iterate over the same votes as `batches` as rows of `VOTE_SCHEMA`.

        Raises
        ------
        SimulationError
            Records are to be added that need not fit into columns.
        """
        if self.duplicates or self.broken or self.doubles:
            raise SimulationError("rows hold good votes only: leave out duplicates, broken and double ones")
        for votes, _, low, high in self._blocks(count, first, start_time, rate):
            yield tabulate_cast_votes(votes, self._names).slice(low, high - low)

    def answer_matchups(
        self, matchups: Sequence[Matchup], rng: Generator, *, start_time: int = START_TIME, rate: float = RATE
    ) -> VoteBatch:
        """Let one voter answer each matchup, in order; votes are dated from `start_time` on, `rate` a second.

        Raises
        ------
        SimulationError
            A matchup is of another arena, or shows a model that this world does not have.
        """
        values: list[bytes] = [b""] * len(matchups)
        times = _space_times(0, len(matchups), start_time, rate)
        for k in sorted({len(matchup.models) for matchup in matchups}):
            chosen = [place for place, matchup in enumerate(matchups) if len(matchup.models) == k]
            votes = self._cast_votes([matchups[place] for place in chosen], times[chosen], rng)
            for place, value in zip(chosen, encode_votes(votes, self._names), strict=True):
                values[place] = value
        return VoteBatch(values, [matchup.matchup_id for matchup in matchups])

    def voting_rng(self, number: int) -> Generator:
        """Return what decides chance in vote `number` on a matchup of somebody else's."""
        return self._rng(_ANSWERS, number)

    def draw_voter(self, rng: Generator) -> tuple[int, bool]:
        """Return the index of a voter drawn at random, and whether it is a bot."""
        voters, by_bot = self._draw_voters(1, rng)
        return int(voters[0]), bool(by_bot[0])

    def answer_qualities(self, qualities: NDArray[np.float64], rng: Generator, *, by_bot: NDArray[np.bool_]) -> Answers:
        """Answer n matchups, whoever made what is shown: true qualities (n, k) in slot order."""
        return answer_shown(qualities, self._habits, rng, by_bot=by_bot, favourite=None)

    @cached_property
    def _habits(self) -> Habits:
        return Habits(
            judgement=self.judgement,
            blur=self.blur,
            noise=self.noise,
            tie_rate=self.tie_rate,
            best_share=self.best_share,
            all_bad_share=self.all_bad_share,
            skip_share=self.skip_share,
        )

    @cached_property
    def _names(self) -> Names:
        return Names(self.arena_id, self.model_ids, self.voter_ids)

    @cached_property
    def _index(self) -> dict[str, int]:
        return {model: index for index, model in enumerate(self.model_ids)}

    def _rng(self, *stream: int) -> Generator:
        return np.random.default_rng([self.seed, *stream])

    def _blocks(
        self, count: int, first: int, start_time: int, rate: float
    ) -> Iterator[tuple[CastVotes, Generator, int, int]]:
        """Iterate over blocks with their generators, and which of their votes are wanted."""
        for block in range(first // _BLOCK, -(-(first + count) // _BLOCK)):
            rng = self._rng(_VOTES, block)
            low, high = max(first - block * _BLOCK, 0), min(first + count - block * _BLOCK, _BLOCK)
            yield self._draw_block(block, rng, start_time, rate), rng, low, high

    def _draw_block(self, block: int, rng: Generator, start_time: int, rate: float) -> CastVotes:
        """Draw the votes of one block, with matchups uniformly at random."""
        models = sample_sets(self.models, self.k, _BLOCK, rng)
        propensity = 1.0 / comb(self.models, self.k)
        pool: Sequence[Prompt | None] = self.prompt_pool or (None,)
        contexts = [Context(prompt.id if prompt else None, RANDOM, propensity) for prompt in pool]
        prompts = rng.integers(0, len(pool), _BLOCK)
        matchup_ids = hex_ids(_BLOCK, rng)
        times = _space_times(block * _BLOCK, _BLOCK, start_time, rate)
        return self._vote(models, matchup_ids, times, contexts, prompts, rng)

    def _cast_votes(self, matchups: Sequence[Matchup], times: NDArray[np.int64], rng: Generator) -> CastVotes:
        """Answer matchups that all have the same number of models."""
        if others := sorted({matchup.arena for matchup in matchups} - {self.arena_id}):
            raise SimulationError(f"voters of {self.arena_id} cannot answer matchups of {', '.join(others)}")
        try:
            rows = [[self._index[model] for model in matchup.models] for matchup in matchups]
        except KeyError as error:
            raise SimulationError(f"the simulated arena has no model {error.args[0]!r}") from None
        contexts = [Context(m.prompt.id if m.prompt else None, m.policy, m.propensity) for m in matchups]
        matchup_ids = np.array([matchup.matchup_id.encode() for matchup in matchups])
        return self._vote(np.array(rows, np.int64), matchup_ids, times, contexts, np.arange(len(matchups)), rng)

    def _vote(
        self,
        models: NDArray[np.int64],
        matchup_ids: NDArray[np.bytes_],
        times: NDArray[np.int64],
        contexts: Sequence[Context],
        context_of: NDArray[np.int64],
        rng: Generator,
    ) -> CastVotes:
        """Let a voter drawn at random answer each matchup."""
        count = len(models)
        voters, by_bot = self._draw_voters(count, rng)
        favourite = None if self.bot_favourite is None else models == self._index[self.bot_favourite]
        answers: Answers = answer_shown(self.skills[models], self._habits, rng, by_bot=by_bot, favourite=favourite)
        # People take about 9 seconds, some much longer.
        durations = np.rint(rng.lognormal(np.log(9_000.0), 0.6, count)).astype(np.int64)
        return CastVotes(
            vote_ids=hex_ids(count, rng),
            matchup_ids=matchup_ids,
            times=times,
            durations=durations,
            voters=voters,
            models=models,
            answers=answers,
            contexts=contexts,
            context_of=context_of,
        )

    def _draw_voters(self, count: int, rng: Generator) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the voter of each vote, and whether it is a bot."""
        bot_weight = self.bots * self.bot_activity
        by_bot = rng.random(count) < bot_weight / (self.voters + bot_weight)
        people = rng.integers(0, self.voters, count)
        bots = self.voters + rng.integers(0, max(self.bots, 1), count)
        return np.where(by_bot, bots, people), by_bot


def _space_times(first: int, count: int, start_time: int, rate: float) -> NDArray[np.int64]:
    """Return when votes `first`, first + 1, ... are cast, ms."""
    passed = np.floor(np.arange(first, first + count) * (1000.0 / rate))
    times: NDArray[np.int64] = start_time + passed.astype(np.int64)
    return times
