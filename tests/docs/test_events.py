"""The examples in docs/events.md are what the decoders say they are."""

from __future__ import annotations

import json

import msgspec
import pytest

from pipeline.contracts.control import decode_control
from pipeline.contracts.decode_reference import Rejected, decode_vote
from pipeline.contracts.matchup import decode_matchup
from pipeline.contracts.reasons import Reason
from tests.docs.documents import Block, read_blocks, read_prose

NAME = "docs/events.md"
APPENDED_AT = 1_764_000_000_500
BLOCKS = [block for block in read_blocks(NAME) if block.language == "json"]


def named(kind: str) -> list[object]:
    return [
        pytest.param(block, id=block.place)
        for block in BLOCKS
        if any(word.partition("=")[0] == kind for word in block.words)
    ]


@pytest.mark.parametrize("block", named("vote"))
def test_votes_are_judged_as_shown(block: Block) -> None:
    for line in block.text.splitlines() if block.text.count("\n{") else [block.text]:
        decoded = decode_vote(line.encode(), APPENDED_AT)
        reason = decoded.reason if isinstance(decoded, Rejected) else decoded.fault
        assert reason == block.value("vote"), line


@pytest.mark.parametrize("block", named("control"))
def test_control_events_are_accepted(block: Block) -> None:
    for line in block.text.splitlines():
        decode_control(line.encode())


@pytest.mark.parametrize("block", named("matchup"))
def test_matchups_have_the_fields_shown(block: Block) -> None:
    matchup = decode_matchup(block.text.encode())
    assert set(json.loads(block.text)) == set(msgspec.to_builtins(matchup))


def test_reasons_are_listed_in_their_order() -> None:
    prose = read_prose(NAME).partition("## Dead letters")[2]
    places = [prose.index(f"| `{reason.value}` |") for reason in Reason]
    assert places == sorted(places)
