"""Results as table, JSON and CSV; notes on stderr."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import click
import pytest
from click.testing import CliRunner

from pipeline.cli.output import Column, Format, fail, misuse, note, print_json, print_rows, progress

ROWS: list[dict[str, Any]] = [
    {"model": "a", "name": 'Says "hi", twice\nin two lines', "rating": 0.1 + 0.2, "votes": 3, "extra": 1},
    {"model": "b", "name": None, "rating": math.nan, "votes": None, "tags": ["x", "y"], "open": True},
]
COLUMNS = ["model", "name", "rating", "votes", "tags", "open"]


def printed(capsys: pytest.CaptureFixture[str], output_format: Format, rows: Sequence[Mapping[str, Any]] = ROWS) -> str:
    print_rows(rows, COLUMNS, output_format)
    return capsys.readouterr().out


def test_json_is_one_array_in_full_precision_without_nan(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = json.loads(printed(capsys, "json"))
    assert list(first) == COLUMNS
    assert first["rating"] == 0.1 + 0.2
    assert second == {"model": "b", "name": None, "rating": None, "votes": None, "tags": ["x", "y"], "open": True}
    assert json.loads(printed(capsys, "json", [])) == []


def test_csv_is_rfc_4180_and_absent_is_empty(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    print_rows(ROWS, COLUMNS, "csv")
    raw = capsysbinary.readouterr().out.decode()
    assert raw.startswith("model,name,rating,votes,tags,open\r\n")
    assert '"Says ""hi"", twice\nin two lines"' in raw
    read = list(csv.DictReader(io.StringIO(raw, newline="")))
    assert read[0]["name"] == ROWS[0]["name"]
    assert float(read[0]["rating"]) == ROWS[0]["rating"]
    assert read[1] == {"model": "b", "name": "", "rating": "", "votes": "", "tags": '["x", "y"]', "open": "true"}


def test_table_marks_absent_values_and_keeps_a_row_on_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, "table").splitlines()
    assert len(lines) == 4
    assert r"Says " r'"hi", twice\nin two lines' in lines[2]
    assert lines[3].split() == ["b", "–", "–", "–", "x", "y", "yes"]


def test_piped_table_cuts_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    print_rows([{"id": "x" * 300, "other": "y"}], ["id", "other"], "table")
    assert "x" * 300 in capsys.readouterr().out


def test_table_cells_are_neither_markup_nor_escape_sequences(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([{"a": "[red]x[/red] \x1b[2J"}], [Column("a", "[b]A[/b]")], "table")
    out = capsys.readouterr().out
    assert "[b]A[/b]" in out
    assert r"[red]x[/red] \x1b[2J" in out


def test_column_text_is_for_tables_only(capsys: pytest.CaptureFixture[str]) -> None:
    column = Column("a", text=lambda value: f"<{value}>")
    print_rows([{"a": 1}, {"a": None}], [column], "table")
    assert capsys.readouterr().out.split()[-2:] == ["<1>", "–"]
    print_rows([{"a": 1}], [column], "csv")
    assert capsys.readouterr().out.split() == ["a", "1"]


def test_print_json_turns_infinities_into_null(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": math.inf, "b": (1, 2.5)})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [1, 2.5]}


def test_notes_go_to_stderr_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    note("[bold]x[/bold]")
    assert capsys.readouterr() == ("", "[bold]x[/bold]\n")


def test_progress_is_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("votes", 10) as advance:
        advance(3)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("end", "code"), [(fail, 1), (misuse, 2)])
def test_fail_and_misuse_set_the_exit_code(end: object, code: int) -> None:
    command = click.Command("x", callback=lambda: end("the reason"))  # type: ignore[operator]
    result = CliRunner().invoke(command)
    assert result.exit_code == code
    assert result.stderr.endswith("Error: the reason\n")


def test_narrow_terminal_folds_long_texts_and_keeps_numbers(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    name = " ".join(["word"] * 12)
    print_rows([{"name": name, "votes": 1234567, "interval": "850 … 950"}], ["name", "votes", "interval"], "table")
    out = capsys.readouterr().out
    assert out.count("word") == 12
    assert "1234567   850 … 950" in out
    assert max(len(line) for line in out.splitlines()[1:]) <= 40


def test_no_color_is_respected(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    print_rows(ROWS, COLUMNS, "table")
    assert not re.search(r"\x1b\[[0-9;]*[34][0-9]m", capsys.readouterr().out)
