"""What the page says of each rating method, and what of a model's rating it draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dashboard.formatting import Unit
from pipeline.contracts.snapshot import ModelRating


@dataclass(frozen=True, slots=True)
class MethodNote:
    """A method in words: the label of its button, the heading of its number, and what its interval means."""

    label: str
    heading: str
    unit: Unit
    explanation: str


@dataclass(frozen=True, slots=True)
class Drawn:
    """What is drawn of one rating, in the unit of its method: the number, the mark, and the interval around it."""

    number: float | None
    mark: float | None
    low: float | None
    high: float | None


NOTES: Final[dict[str, MethodNote]] = {
    "posterior": MethodNote(
        label="Posterior",
        heading="Rating",
        unit="points",
        explanation=(
            "Bars are 95 % credible intervals, marks are means. "
            "1,000 is the average model; 400 points are odds of 10 to 1."
        ),
    ),
    "average": MethodNote(
        label="Average",
        heading="Rating",
        unit="points",
        explanation=(
            "Several models of how people vote, averaged by how well each predicted. Bars are 95 % credible intervals. "
            "1,000 is the average model."
        ),
    ),
    "ksort": MethodNote(
        label="K-Sort",
        heading="Score",
        unit="score",
        explanation=(
            "Bars reach 3 standard deviations to either side of the mean. The score, mean − 3 sd, is a bar's left end: "
            "a model has to be good and well known to rank high."
        ),
    ),
    "elo": MethodNote(
        label="Elo",
        heading="Rating",
        unit="points",
        explanation="Elo states no interval: it does not know how sure it is. It depends on the order of the votes.",
    ),
    "win_rate": MethodNote(
        label="Win rate",
        heading="Win rate",
        unit="share",
        explanation=(
            "Share of pairs won, ties as half. Bars are 95 % Wilson intervals. "
            "How strong the opponents were does not enter."
        ),
    ),
}


def describe_method(method: str) -> MethodNote:
    """Return the note of `method`; of one that this page does not know, its id and no promise about intervals."""
    unknown = MethodNote(
        label=method, heading="Rating", unit="score", explanation="Bars are as the method states them."
    )
    return NOTES.get(method, unknown)


def draw_rating(rating: ModelRating, method: str) -> Drawn:
    """Return what is drawn of `rating`: on the published scale where the method has one."""
    if method == "ksort":
        low, high = bar_of_ksort(rating.mean, rating.score)
        return Drawn(number=rating.score, mark=rating.mean, low=low, high=high)
    if describe_method(method).unit == "points" and rating.rating is not None:
        return Drawn(rating.rating, rating.rating, rating.rating_low, rating.rating_high)
    return Drawn(rating.mean, rating.mean, rating.low, rating.high)


def bar_of_ksort(mean: float | None, score: float | None) -> tuple[float | None, float | None]:
    """Return the ends of a bar from the score, which is mean - 3 sd, to as much above the mean.

    `low` and `high` of its rows are the 95 % interval, whose ends stand for nothing on a board that goes by score.
    """
    if mean is None or score is None:
        return None, None
    return score, 2 * mean - score
