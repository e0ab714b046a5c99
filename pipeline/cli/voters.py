"""`kwise voters`: take votes out of the boards and back in, by events in the log; no vote is deleted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import click

from pipeline.cli.control import control_options, new_event_id, write_events
from pipeline.cli.output import Format, examples, misuse
from pipeline.cli.times import now_ms

if TYPE_CHECKING:
    from pipeline.contracts.control import ControlEvent, ControlType

F = TypeVar("F", bound=Callable[..., Any])

_IDS_AN_EVENT: Final = 5_000
"""Keeps an event below 1 MiB: an id has up to 128 bytes."""


def _selection_options(command: F) -> F:
    for option in (
        click.option("--reason", metavar="TEXT", help="Why; kept in the log."),
        click.option("--arena", metavar="ID", help="Only in this arena. Default: in all."),
        click.option("--matchup", "matchups", multiple=True, metavar="ID", help="A matchup; may be repeated."),
        click.option(
            "--voters-file",
            type=click.File("r", encoding="utf-8"),
            metavar="FILE",
            help="More voters, one a line; - reads them from stdin.",
        ),
        click.option("--voter", "voters", multiple=True, metavar="ID", help="A voter; may be repeated."),
    ):
        command = option(command)
    return command


@click.group()
def command() -> None:
    """Take the votes of voters out of the boards, and back in."""


@command.command(
    epilog=examples('kwise voters quarantine --to sqlite:events.db --voter v3.3f9a1c --reason "votes by script"')
)
@_selection_options
@control_options
def quarantine(reason: str | None, **options: Any) -> None:
    """Take votes out: all of a voter, earlier and later ones, or those on a matchup.

    They stay in the log and the archive, and `kwise voters restore` brings them back. Boards follow at the
    next commit; those of methods that depend on the order of votes are rebuilt meanwhile.
    """
    if not reason:
        misuse("--reason is missing: say why, for those who read the log later")
    _write("retract", reason=reason, **options)


@command.command(
    epilog=examples('kwise voters restore --to sqlite:events.db --voter v3.3f9a1c --reason "a class in school"')
)
@_selection_options
@control_options
def restore(reason: str | None, **options: Any) -> None:
    """Bring votes back that `kwise voters quarantine` took out.

    What was taken out of all arenas comes back by a restore without --arena; that one takes back
    quarantines in single arenas too.
    """
    _write("restore", reason=reason, **options)


def make_events(
    verb: Literal["retract", "restore"],
    voters: Sequence[str],
    matchups: Sequence[str],
    *,
    now: int,
    arena: str | None = None,
    reason: str | None = None,
    by: str | None = None,
) -> list[ControlEvent]:
    """Return the events that retract or restore voters and matchups, in the order given, repeats left out."""
    from msgspec.structs import replace

    from pipeline.contracts.control import ControlEvent

    def event(kind: ControlType) -> ControlEvent:
        return ControlEvent(schema=1, event_id=new_event_id(), type=kind, time=now, arena=arena, by=by, reason=reason)

    voter_kind: ControlType = "voters.retract" if verb == "retract" else "voters.restore"
    matchup_kind: ControlType = "matchups.retract" if verb == "retract" else "matchups.restore"
    return [
        *(replace(event(voter_kind), voters=part) for part in _split(voters)),
        *(replace(event(matchup_kind), matchups=part) for part in _split(matchups)),
    ]


def _write(
    verb: Literal["retract", "restore"],
    *,
    voters: tuple[str, ...],
    voters_file: Any,
    matchups: tuple[str, ...],
    arena: str | None,
    reason: str | None,
    to: str,
    by: str | None,
    dry_run: bool,
    output_format: Format,
) -> None:
    from pipeline.contracts.ids import is_id

    listed = [line.strip() for line in voters_file if line.strip()] if voters_file else []
    chosen = [*voters, *listed]
    if not chosen and not matchups:
        misuse("name at least one --voter or --matchup, or a --voters-file")
    for name in (*chosen, *matchups, *([arena] if arena else [])):
        if not is_id(name):
            misuse(f"{name!r} is not a valid id")
    events = make_events(verb, chosen, matchups, now=now_ms(), arena=arena, reason=reason, by=by)
    write_events(to, events, dry_run=dry_run, output_format=output_format)


def _split(ids: Sequence[str]) -> list[tuple[str, ...]]:
    unique = tuple(dict.fromkeys(ids))
    return [unique[start : start + _IDS_AN_EVENT] for start in range(0, len(unique), _IDS_AN_EVENT)]
