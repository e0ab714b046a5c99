"""What a vote revealed: which models were in the slots, and where they stood before it and stand with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from pipeline.contracts.gateway import Reveal, RevealedModel, VotePlace
from producers.gateway.published import Published


class Standing(NamedTuple):
    """Rank and rating of a model on a board; a board may have no rating scale."""

    rank: int
    rating: float | None


Standings = Mapping[str, Standing]
"""By model id; models that are on no board are left out."""


def find_standings(published: Published, arena_id: str, models: Iterable[str]) -> Standings:
    """Return where `models` stand on the published board of an arena."""
    lines = published.lines(arena_id)
    return {model: Standing(line.rank, line.rating) for model in models if (line := lines.get(model)) is not None}


class VotedMatchup:
    """One matchup that was voted on, as far as it is revealed.

    Attributes
    ----------
    arena_id, models
        What was shown, in slot order.
    vote_id : str
    place : VotePlace or None
        Where the log has the vote; None: taken before a restart, and the board cannot be asked for it.
    before : Standings
    after : Standings or None
        None until the published board includes the vote; from then on they stay.
    """

    __slots__ = ("after", "arena_id", "before", "models", "place", "vote_id")

    def __init__(
        self, arena_id: str, models: tuple[str, ...], vote_id: str, place: VotePlace | None, before: Standings
    ) -> None:
        self.arena_id = arena_id
        self.models = models
        self.vote_id = vote_id
        self.place = place
        self.before = before
        self.after: Standings | None = None

    def reveal(self, published: Published) -> Reveal:
        """Return what is revealed as of `published`; note where the models stand if the vote is in for the first time.

        Without a place every board that is published now counts as one with the vote.
        """
        if self.after is None and (self.place is None or published.includes(self.arena_id, self.place)):
            self.after = find_standings(published, self.arena_id, self.models)
        arena = published.arena(self.arena_id)
        known = {} if arena is None else {model.id: model for model in arena.models}
        after = self.after or {}
        revealed = []
        for slot, model_id in enumerate(self.models):
            model, old, new = known.get(model_id), self.before.get(model_id), after.get(model_id)
            revealed.append(
                RevealedModel(
                    slot=slot,
                    model=model_id,
                    name=None if model is None else model.name,
                    organization=None if model is None else model.organization,
                    rank_before=None if old is None else old.rank,
                    rank_after=None if new is None else new.rank,
                    rating_before=None if old is None else old.rating,
                    rating_after=None if new is None else new.rating,
                )
            )
        return Reveal(models=tuple(revealed), in_board=self.after is not None)
