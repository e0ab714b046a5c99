"""The policies by name. A new one is a function from a view to sets, and a line here."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

from pipeline.matchmaking import gibbs_policy, ksort_policy, random_policy
from pipeline.matchmaking.errors import MatchmakingError
from pipeline.matchmaking.view import ArenaView, ProposedSet

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.random import Generator


class Policy(Protocol):
    """Proposes sets of models for an arena."""

    def __call__(self, view: ArenaView, count: int, rng: Generator, /) -> list[ProposedSet]:
        """Propose `count` sets, or none if the active models are too few."""
        ...


POLICIES: Final[Mapping[str, Policy]] = MappingProxyType(
    {
        gibbs_policy.NAME: gibbs_policy.propose_gibbs,
        ksort_policy.NAME: ksort_policy.propose_ksort,
        random_policy.NAME: random_policy.propose_random,
    }
)


def needs_belief(policy: str) -> bool:
    """Whether `policy` proposes from the posterior, so that views for it must have a belief."""
    return policy == gibbs_policy.NAME


def propose_sets(policy: str, view: ArenaView, count: int, rng: Generator) -> list[ProposedSet]:
    """Propose `count` sets of models to be shown together.

    Parameters
    ----------
    policy
        Name in `POLICIES`.
    view
        The arena at one commit.
    count
        How many sets; the later ones count the earlier ones as open.
    rng
        Decides everything that the policy leaves to chance: same state and generator, same proposals.

    Returns
    -------
    list of ProposedSet
        `count` of them, or none if fewer than k models are active: `describe_shortage` then says so in words.

    Raises
    ------
    MatchmakingError
        `policy` is unknown.
    """
    chosen = POLICIES.get(policy)
    if chosen is None:
        raise MatchmakingError(f"unknown matchmaking policy {policy!r}; known are {', '.join(sorted(POLICIES))}")
    return chosen(view, count, rng)
