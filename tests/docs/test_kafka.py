"""docs/kafka.md shows the settings that guarded brokers are tested with, and what topics are made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.kafka.properties import make_properties
from infra.kafka.security import make_security
from pipeline.eventlog.kafka.topics import SETTINGS
from tests.docs.documents import ROOT, read_blocks
from tests.docs.session import is_shown

DOCUMENT = "docs/kafka.md"


@pytest.mark.kafka
def test_settings_of_a_guarded_broker_are_shown(tmp_path: Path) -> None:
    security = make_security(tmp_path)
    (block,) = [block for block in read_blocks(DOCUMENT) if "broker" in block.words]
    shown = dict(line.split("=", 1) for line in block.text.splitlines())
    assert set(security.properties) < set(shown)
    real = make_properties(1, 9092, {1: 9093}, tmp_path, security, {})
    for name, value in shown.items():
        assert is_shown(real[name], value), name


def test_settings_of_topics_are_explained() -> None:
    text = (ROOT / DOCUMENT).read_text("utf-8")
    for name in SETTINGS:
        assert f"`{name}`" in text
