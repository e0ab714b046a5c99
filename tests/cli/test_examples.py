"""Every verb's help ends with examples, and they work as they stand."""

from __future__ import annotations

import shlex
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pipeline.cli.main import NOUNS, kwise
from tests.cli.stores import make_store

TESTED = ("arena", "board", "matchup", "voters", "doctor")


def list_commands(noun: str) -> list[tuple[str, click.Command]]:
    command = import_module(NOUNS[noun][0]).command
    if isinstance(command, click.Group):
        return [(f"{noun} {verb}", each) for verb, each in sorted(command.commands.items())]
    return [(noun, command)]


COMMANDS = [each for noun in TESTED for each in list_commands(noun)]


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[path for path, _ in COMMANDS])
def test_examples_work(path: str, command: click.Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_store(tmp_path / "store", "pictures")
    # What the example of `arena apply` makes with printf, and others read.
    Path("arena.toml").write_text('[arena]\nid = "pictures"\n[[model]]\nid = "flux-dev"\n')
    assert CliRunner().invoke(kwise, ["arena", "apply", "arena.toml", "--to", "sqlite:events.db"]).exit_code == 0
    lines = [line.strip() for line in (command.epilog or "").splitlines()]
    examples = [line for line in lines if line.startswith("kwise ")]
    assert examples
    shown = CliRunner().invoke(kwise, [*path.split(), "--help"]).stdout
    for example in examples:
        assert example in (line.strip() for line in shown.splitlines())
        assert example.startswith(f"kwise {path}")
        if path == "doctor" and "--from" in example:
            continue  # the store here was not made from that log, and the doctor says so
        result = CliRunner().invoke(kwise, shlex.split(example)[1:])
        assert result.exit_code == 0, result.output
        assert result.stdout


@pytest.mark.parametrize("noun", NOUNS)
def test_help_of_a_noun_lists_its_verbs_and_nothing_that_is_for_click(noun: str) -> None:
    shown = CliRunner().invoke(kwise, [noun, "--help"]).stdout
    assert all(path.split()[-1] in shown for path, _ in list_commands(noun))
    verbs = [CliRunner().invoke(kwise, [*path.split(), "--help"]).stdout for path, _ in list_commands(noun)]
    assert not any("\\b" in each for each in (shown, *verbs))
