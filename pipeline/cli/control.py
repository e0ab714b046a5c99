"""Writes control events: what `kwise arena` and `kwise voters` have in common."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from pipeline.cli.logs import PARTITIONS
from pipeline.cli.output import Format, fail, format_option, note, print_rows

if TYPE_CHECKING:
    from pipeline.contracts.control import ControlEvent

F = TypeVar("F", bound=Callable[..., Any])

COLUMNS: Final = ("type", "arena", "model", "voters", "matchups", "reason", "by", "event_id")


def control_options(command: F) -> F:
    """Add the options of every verb that writes control events: `to`, `by`, `dry_run`, `output_format`."""
    for option in (
        format_option,
        click.option("--dry-run", is_flag=True, help="Print the events, write nothing."),
        click.option("--by", metavar="NAME", help="Who does it; kept in the log for ever. Default: nobody."),
        click.option("--to", required=True, metavar="URL", help="Event log, as in sqlite:events.db."),
    ):
        command = option(command)
    return command


def new_event_id() -> str:
    """Return 128 random bits as 32 hex digits."""
    return secrets.token_hex(16)


def check_events(events: Sequence[ControlEvent]) -> None:
    """Fail on an event that the job would refuse: better here, in words, than as a dead letter later."""
    from pipeline.contracts.control import ControlFault, decode_control, encode_control

    for event in events:
        try:
            decode_control(encode_control(event))
        except ControlFault as fault:
            fail(f"the job would refuse this {event.type} ({fault.reason}): {fault.detail}")


def write_events(url: str, events: Sequence[ControlEvent], *, dry_run: bool, output_format: Format) -> None:
    """Append `events` to the control topic of the log at `url`, in order, and print them."""
    check_events(events)
    if not dry_run:
        append_events(url, events)
    print_rows([_describe_event(event) for event in events], _used_columns(events), output_format)
    if output_format == "table":
        written = "would be written" if dry_run else "written"
        note(f"{len(events)} control event{'s' * (len(events) != 1)} {written} to {url}")


def append_events(url: str, events: Sequence[ControlEvent]) -> None:
    """Append `events` in order; topics that are missing are made. Raises `LogError`."""
    from pipeline.contracts.control import encode_control
    from pipeline.contracts.log import CONTROL, Record
    from pipeline.eventlog import open_log

    log = open_log(url)
    log.create_topics(PARTITIONS)
    writer = log.writer()
    try:
        writer.append(CONTROL, [Record(encode_control(event)) for event in events])
    finally:
        writer.close()


def _describe_event(event: ControlEvent) -> dict[str, object]:
    from pipeline.contracts.control import model_id_of

    row: dict[str, object] = {name: getattr(event, name) for name in COLUMNS}
    row["model"] = None if event.model is None else model_id_of(event)
    return row


def _used_columns(events: Sequence[ControlEvent]) -> list[str]:
    always = {"type", "arena", "event_id"}
    return [name for name in COLUMNS if name in always or any(getattr(event, name) for event in events)]
