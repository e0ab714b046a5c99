"""`kwise arena`: apply arena files, list arenas and models."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from pipeline.cli.control import control_options, new_event_id, write_events
from pipeline.cli.output import Column, Format, examples, fail, format_option, note, print_rows, store_option
from pipeline.cli.times import now_ms

if TYPE_CHECKING:
    from pipeline.contracts.arena import ArenaFile, RegisteredArena
    from pipeline.contracts.control import ControlEvent, ControlType

_LIST_COLUMNS: Final = (
    Column("arena"),
    Column("title"),
    Column("k"),
    Column("model"),
    Column("name"),
    Column("organization"),
    Column("license"),
    Column("access"),
    Column("retired"),
)


@click.group()
def command() -> None:
    """Arenas and their models."""


@command.command(
    epilog=examples(
        "printf '%s\\n' '[arena]' 'id = \"pictures\"' '[[model]]' 'id = \"flux-dev\"' > arena.toml",
        "kwise arena apply arena.toml --to sqlite:events.db",
    )
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@control_options
def apply(file: Path, to: str, by: str | None, dry_run: bool, output_format: Format) -> None:
    """Make the arena of FILE known, or change it to what FILE says.

    FILE is TOML: a table [arena] with its id, title and k, a [[model]] for each model with its id, name,
    organization, license, url and access ("open" or "api"), and a [[prompt]] for each prompt with its id and
    text. generator and generation of a model say what makes its pictures (docs/generation.md). A model with
    `retired = true` keeps its votes and is proposed no more. Models that FILE leaves out stay as they are. From
    the first arena that is applied, votes on unknown arenas and models are refused.
    """
    from pipeline.contracts.arena import parse_arena_file

    parsed = parse_arena_file(_read_text(file), str(file))
    write_events(to, make_events(parsed, now_ms(), by), dry_run=dry_run, output_format=output_format)


@command.command(name="list", epilog=examples("kwise arena list --store store"))
@store_option
@click.option("--arena", metavar="ID", help="Only this arena.")
@format_option
def list_arenas(store: Path, arena: str | None, output_format: Format) -> None:
    """List arenas and models as the job published them, one line a model."""
    from pipeline.cli.published import choose_arenas, open_store

    reader = open_store(store)
    registry = reader.registry()
    chosen = [registry.arenas[each] for each in choose_arenas(sorted(registry.arenas), arena)]
    if not chosen:
        note("no arena is known yet: apply an arena file, or send a vote")
    print_rows([row for each in chosen for row in _list_rows(each)], _LIST_COLUMNS, output_format)


def make_events(parsed: ArenaFile, now: int, by: str | None) -> list[ControlEvent]:
    """Return what makes the arena of a file known: the arena, its models in their order, then retirements.

    Raises `ArenaError` where prompts share an id.
    """
    import msgspec

    from pipeline.contracts.arena import ArenaError
    from pipeline.contracts.control import ControlEvent

    arena = parsed.arena
    prompts = (*arena.prompts, *parsed.prompt)
    ids = [prompt.id for prompt in prompts]
    if repeated := sorted({each for each in ids if ids.count(each) > 1}):
        raise ArenaError(f"arena {arena.id}: prompts listed more than once: {', '.join(repeated)}")

    def event(kind: ControlType) -> ControlEvent:
        return ControlEvent(schema=1, event_id=new_event_id(), type=kind, time=now, arena=arena.id, by=by)

    upsert = msgspec.structs.replace(
        event("arena.upsert"),
        title=arena.title,
        k=arena.k,
        modes=arena.modes,
        require_token=arena.require_token,
        settings=arena.settings,
        prompts=prompts,
    )
    added = [msgspec.structs.replace(event("model.add"), model=model) for model in parsed.model]
    retired = [
        msgspec.structs.replace(event("model.retire"), model=model.id) for model in parsed.model if model.retired
    ]
    return [upsert, *added, *retired]


def _read_text(file: Path) -> str:
    try:
        if str(file) == "-":
            return sys.stdin.read()
        return file.read_text("utf-8")
    except UnicodeDecodeError as error:
        fail(f"{file} is not UTF-8 text: {error}")


def _list_rows(registered: RegisteredArena) -> list[dict[str, object]]:
    shared: dict[str, object] = {
        "arena": registered.arena.id,
        "title": registered.arena.title,
        "k": registered.arena.k,
    }
    rows = [
        {
            **shared,
            "model": model.id,
            "name": model.name,
            "organization": model.organization,
            "license": model.license,
            "access": model.access,
            "retired": model.retired,
        }
        for model in registered.models
    ]
    return rows or [shared]
