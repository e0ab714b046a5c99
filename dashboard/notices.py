"""What the page says when there is no board to show, or when the board needs a word of caution.

Anybody may read it: a store is called by its own name, without the folders of the server that it lies in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dashboard.formatting import format_clock, format_day, join_words


@dataclass(frozen=True, slots=True)
class Notice:
    """A heading, a sentence or two, and a command that helps. `empty`: it stands in place of a board."""

    kind: Literal["empty", "note", "warning"]
    title: str
    text: str
    command: str | None = None


def no_store(store: Path) -> Notice:
    """Nothing has been published at `store`."""
    return Notice(
        "empty",
        "Waiting for a store",
        f"Nothing has been published in {store.name} so far. Start a job that writes there: the board comes by itself.",
        _run(store),
    )


def unreadable_store(reason: str) -> Notice:
    """The store is there and cannot be read."""
    return Notice("empty", "The store cannot be read", reason)


def no_arenas(store: Path) -> Notice:
    """The store knows no arena."""
    return Notice(
        "empty",
        "No arenas yet",
        f"The store {store.name} is there, but no arena is in it. An arena begins with its file or its first vote.",
        "kwise arena apply arena.toml --to LOG",
    )


def no_models() -> Notice:
    """The arena has no models."""
    return Notice("empty", "No models yet", "This arena is set up, and no model has been added to it.")


def no_votes(models: int) -> Notice:
    """The board is the prior."""
    who = "the model is" if models == 1 else f"all {models:,} models are"
    return Notice(
        "note",
        "No votes yet",
        f"This is the prior, what is believed before anybody has voted: {who} taken to be average. "
        "Ranks appear with the first vote.",
    )


def stalled(seen: int | None, store: Path) -> Notice:
    """The job does not report; `seen`, in ms: when it did, if ever."""
    since = (
        "No job has ever reported on this store."
        if seen is None
        else f"The job that counts votes was last seen {_at(seen)}."
    )
    return Notice(
        "warning",
        "Not being updated",
        f"{since} What you see is the last board that was published.",
        _run(store),
    )


def no_status(store: Path) -> Notice:
    """A store that no live job has written to: made by a replay, or new."""
    return Notice(
        "note",
        "No job has reported",
        "This store is there, and no live job has said anything of itself on it so far: it was made by a replay, or "
        "the job is just starting.",
        _run(store),
    )


def job_stopped(ended: int, store: Path) -> Notice:
    """The job has let go of the store in order."""
    return Notice(
        "note",
        "Stopped",
        f"The job ended in order {_at(ended)}. Votes wait in the log; nothing is lost. Figures are those of its end.",
        _run(store),
    )


def job_failed(ended: int, error: str, store: Path) -> Notice:
    """The job has given up."""
    return Notice(
        "warning",
        "Ended by an error",
        f"The job gave up {_at(ended)}: {error}. Votes wait in the log; nothing is lost.",
        f"kwise doctor --store {store.name}",
    )


def job_silent(seen: int, store: Path) -> Notice:
    """The job neither reports nor has it ended in order."""
    return Notice(
        "warning",
        "No sign of life",
        f"The job was last seen {_at(seen)}. It was killed, or hangs. Start it again: nothing is lost.",
        f"kwise doctor --store {store.name}",
    )


def log_out_of_reach(error: str) -> Notice:
    """The job lives and cannot read."""
    return Notice(
        "warning", "The log is out of reach", f"The job tries again until it is back, and loses nothing: {error}"
    )


def rebuilding(labels: Sequence[str]) -> Notice:
    """The boards of these methods are rebuilt after a retraction."""
    rest = "depends on the order of votes and is" if len(labels) == 1 else "depend on the order of votes and are"
    return Notice(
        "note", "Being rebuilt", f"Votes were retracted. {join_words(labels)} {rest} computed anew from all that count."
    )


def unknown_arena(asked: str, shown: str) -> Notice:
    """A link names an arena that is not in the store."""
    return Notice("note", "Unknown arena", f"There is no arena {asked} in this store. You see {shown}.")


def unknown_model(asked: str, shown: str) -> Notice:
    """A link names a model that is not in the arena."""
    return Notice("note", "Unknown model", f"There is no model {asked} in this arena. You see {shown}.")


def not_rated(label: str) -> Notice:
    """A model that has been added is on no board yet."""
    return Notice("empty", "Not rated yet", f"{label} has no rating of this model so far: the next board will have it.")


def no_pairs() -> Notice:
    """Fewer than two models."""
    return Notice("empty", "No pairs yet", "There are pairs to compare as soon as the arena has two models.")


def no_pair_votes() -> Notice:
    """Nobody has ordered two models."""
    return Notice("note", "No votes yet", "The matrix fills with the first vote that orders two models.")


def no_predictions(models: int) -> Notice:
    """The posterior is not fitted here."""
    return Notice(
        "note",
        "No predictions",
        f"The posterior of {models:,} models is not fitted by this page: that takes too long, or it did not converge. "
        "What was seen is there.",
    )


def no_history() -> Notice:
    """Fewer than two boards."""
    return Notice("empty", "No history yet", "Ranks are drawn from the second board on that has votes in it.")


def no_open_matchups(policy: str) -> Notice:
    """Nothing is proposed."""
    return Notice(
        "empty",
        "Nothing is proposed",
        f"The job keeps matchups open by the policy {policy} while it runs and the arena has enough models. "
        "A store that a replay made has none.",
    )


def no_login(variable: str) -> Notice:
    """Operators cannot log in."""
    return Notice(
        "note",
        "Kept from view",
        f"Records bear what voters are told apart by. Operators see them here once {variable} names a file with a "
        "password; on this machine the command line shows them.",
        "kwise dashboard serve --operator-password FILE",
    )


def no_letters() -> Notice:
    """No dead letter of the reason that is asked for."""
    return Notice("empty", "None", "There is no such record.")


def no_match(words: str) -> Notice:
    """The search finds nothing."""
    return Notice("empty", "Nothing found", f"No model, organization or license matches {words}.")


def no_boards() -> Notice:
    """The arena is published without a board."""
    return Notice("empty", "The first board is being computed", "It appears here as soon as it is published.")


def _run(store: Path) -> str:
    return f"kwise pipeline run --from LOG --store {store.name}"


def _at(time: int) -> str:
    """Return when something was: no age, which would have a screen reader say the notice again and again."""
    return f"on {format_day(time)} at {format_clock(time)} UTC"
