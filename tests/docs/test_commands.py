"""The commands in the documents do what the documents say."""

from __future__ import annotations

import shlex
from pathlib import Path

import click
import pytest

from infra.kafka.node import find_free_ports
from pipeline.cli.main import kwise
from tests.docs.documents import NAMES, Block, read_blocks, read_prose
from tests.docs.session import Session, is_shown

pytestmark = pytest.mark.timeout(900)  # a document is a dozen programs one after the other

KAFKA = "docs/kafka.md"
PORTS = {KAFKA: (9092,), "docs/gateway.md": (8600,)}
"""Ports that documents name, where something else may listen."""

RUN = [name for name in NAMES if any("run" in block.words for block in read_blocks(name))]
RUN_ON_DATA = [name for name in NAMES if any("data" in block.words for block in read_blocks(name))]
COMMANDS = [
    pytest.param(line, id=f"{block.place} {line[:40]}")
    for name in NAMES
    for block in read_blocks(name)
    if block.language == "sh"
    for line in block.text.replace("\\\n", " ").splitlines()
    if line.lstrip().startswith("kwise ")
]


def blocks_of(name: str, *, data: bool) -> list[Block]:
    """Return the blocks that need real votes, or the others; what a block prints goes with it."""
    chosen, last = [], False
    for block in read_blocks(name):
        last = last if "output" in block.words else "data" in block.words
        if last is data:
            chosen.append(block)
    return chosen


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.kafka] if name == KAFKA else [])
        for name in RUN
        if any("run" in b.words for b in blocks_of(name, data=False))
    ],
)
def test_commands_work(name: str, tmp_path: Path) -> None:
    ports = {named: find_free_ports(1)[0] for named in PORTS.get(name, ())}
    with Session(tmp_path, None, ports) as session:
        session.run(blocks_of(name, data=False))


@pytest.mark.parametrize("name", RUN_ON_DATA)
def test_commands_on_real_votes_work(name: str, tmp_path: Path, kwise_data: Path) -> None:
    with Session(tmp_path, kwise_data) as session:
        session.run(blocks_of(name, data=True))


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_exist_with_their_options(line: str) -> None:
    words = shlex.split(line.partition("|")[0].partition(" > ")[0].removesuffix("&"), comments=True)[1:]
    context = click.Context(kwise)
    command: click.Command = kwise
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words.pop(0))
        assert found is not None, line
        command = found
    known = {option for parameter in command.params for option in parameter.opts} | {"--help", "-h", "--version"}
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known


# The architecture names commands of later versions, too, and says so in its first table.
@pytest.mark.parametrize("name", [name for name in NAMES if name != "docs/architecture.md"])
def test_commands_named_in_prose_exist(name: str) -> None:
    """`kwise NOUN VERB` in backticks: the noun is one, and what follows it in small letters is a verb of it."""
    context = click.Context(kwise)
    for part in read_prose(name).split("`kwise ")[1:]:
        noun, *rest = part.partition("`")[0].split()
        if noun.startswith("-"):
            continue
        command = kwise.get_command(context, noun)
        assert command is not None, f"kwise {noun}"
        if isinstance(command, click.Group) and rest and rest[0][0].isalpha() and rest[0].islower():
            for verb in rest[0].split("|"):
                assert verb in command.commands, f"kwise {noun} {verb}"


def test_output_is_compared() -> None:
    assert is_shown("3 votes in 0.1 s\nrank  \n", "3 votes in ... s\nrank\n")
    assert not is_shown("4 votes in 0.1 s\n", "3 votes in ... s\n")
    assert not is_shown("3 votes in 0.1 s\nmore\n", "3 votes in ... s\n")
