"""What every verb prints with: results on stdout as table, JSON or CSV; notes, errors and progress on stderr.

Absent values are null in JSON, empty in CSV and an en dash in tables.
"""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Literal, NoReturn

import click

if TYPE_CHECKING:
    from rich.console import Console

Format = Literal["table", "json", "csv"]
ABSENT: Final = "–"

# Wide enough that nothing is cut or wrapped when a program reads the table.
_UNLIMITED_WIDTH = 10_000
_UNFOLDED = 16

format_option = click.option(
    "--format",
    "output_format",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="How to print the result on stdout.",
)
"""`--format`, handed over as `output_format`."""

store_option = click.option(
    "--store",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    envvar="KWISE_STORE",
    show_envvar=True,
    metavar="DIR",
    help="Folder of the store.",
)
"""`--store DIR`, handed over as `store`, a Path that need not exist."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: `name` is the key in rows, JSON and CSV; the rest is for tables only."""

    name: str
    heading: str | None = None
    text: Callable[[Any], str] | None = None
    """Turns a value that is not None into the text of a cell."""


def examples(*lines: str) -> str:
    """Return the epilog of a command's help that shows how it is used; the paragraph is not wrapped."""
    return "\b\n" + "\n  ".join(["Examples:" if len(lines) > 1 else "Example:", *lines])


def console() -> Console:
    """Return a rich console on stderr."""
    from rich.console import Console

    return Console(stderr=True)


def note(message: str) -> None:
    """Print `message` on stderr."""
    click.echo(message, err=True)


def fail(message: str) -> NoReturn:
    """End the command with one line on stderr and exit code 1."""
    raise click.ClickException(message)


def misuse(message: str) -> NoReturn:
    """End the command with the usage, one line on stderr and exit code 2."""
    raise click.UsageError(message, click.get_current_context(silent=True))


def print_rows(rows: Iterable[Mapping[str, Any]], columns: Sequence[str | Column], output_format: Format) -> None:
    """Print `rows` on stdout: a table, one JSON array with an object a line, or CSV (RFC 4180) with a header.

    Only `columns` are printed, in their order; a key that a row lacks is absent.
    """
    chosen = [column if isinstance(column, Column) else Column(column) for column in columns]
    if output_format == "json":
        _print_json_rows(({c.name: row.get(c.name) for c in chosen} for row in rows), sys.stdout)
    elif output_format == "csv":
        _print_csv_rows(rows, [c.name for c in chosen], sys.stdout)
    else:
        _print_table(rows, chosen)


def print_json(value: object) -> None:
    """Print one JSON value on stdout, indented. Numbers in full precision; NaN and infinities become null."""
    print(json.dumps(_jsonable(value), indent=2, ensure_ascii=False, allow_nan=False))


@contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on stderr while the block runs, if that is a terminal; yields `advance(steps)`."""
    if not sys.stderr.isatty():
        yield lambda _steps: None
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class SpeedColumn(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.0f}/s")

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), SpeedColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console(), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda steps: bar.advance(task, steps)


def _print_json_rows(rows: Iterable[Mapping[str, Any]], out: IO[str]) -> None:
    separator = "[\n"
    for row in rows:
        out.write(separator + json.dumps(_jsonable(row), ensure_ascii=False, allow_nan=False))
        separator = ",\n"
    out.write("[]\n" if separator == "[\n" else "\n]\n")


def _print_csv_rows(rows: Iterable[Mapping[str, Any]], names: Sequence[str], out: IO[str]) -> None:
    writer = csv.writer(out)
    writer.writerow(names)
    for row in rows:
        writer.writerow(_csv_cell(row.get(name)) for name in names)


def _csv_cell(value: object) -> object:
    plain = _jsonable(value)
    if isinstance(plain, bool):
        return "true" if plain else "false"
    return json.dumps(plain, ensure_ascii=False) if isinstance(plain, list | dict) else plain


def _print_table(rows: Iterable[Mapping[str, Any]], columns: Sequence[Column]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = [[row.get(column.name) for column in columns] for row in rows]
    texts = [[_cell(value, column) for value, column in zip(line, columns, strict=True)] for line in cells]
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for place, column in enumerate(columns):
        values = [line[place] for line in cells if line[place] is not None]
        numeric = bool(values) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
        heading = Text(column.name.replace("_", " ") if column.heading is None else column.heading)
        # On a narrow terminal long texts are folded first.
        short = all(len(line[place]) <= _UNFOLDED for line in texts)
        table.add_column(heading, justify="right" if numeric else "left", overflow="fold", no_wrap=short)
    for line in texts:
        table.add_row(*(Text(text) for text in line))
    terminal = sys.stdout.isatty()
    # Rendered first and written in one go: rich swallows a closed pipe and ends the program by itself.
    rendered = io.StringIO()
    width = None if terminal else _UNLIMITED_WIDTH
    Console(file=rendered, force_terminal=terminal or None, width=width).print(table)
    sys.stdout.writelines(line.rstrip() + "\n" for line in rendered.getvalue().splitlines())


def _cell(value: object, column: Column) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ABSENT
    if column.text is not None:
        text = column.text(value)
    elif isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, float):
        text = f"{value:.6g}"
    elif isinstance(value, list | tuple | set | frozenset):
        text = " ".join(str(item) for item in value)
    else:
        text = str(value)
    # A name with an escape sequence in it must not write to the terminal.
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _jsonable(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_jsonable(item) for item in value]
    if value is None or isinstance(value, str | int):
        return value
    if hasattr(value, "item"):  # a numpy scalar
        return _jsonable(value.item())
    if hasattr(value, "__struct_fields__"):
        return {name: _jsonable(getattr(value, name)) for name in value.__struct_fields__}
    return str(value)
