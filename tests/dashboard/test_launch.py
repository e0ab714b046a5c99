from __future__ import annotations

import logging
import subprocess
import sys

import pytest
from starlette.websockets import WebSocketDisconnected

from dashboard.launch import LeftReaders
from tests.conftest import ROOT


@pytest.mark.parametrize(("error", "is_news"), [(WebSocketDisconnected("gone"), False), (RuntimeError("x"), True)])
def test_readers_who_left_are_no_news(error: Exception, is_news: bool, caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("tests.left")
    logger.addFilter(LeftReaders())
    try:
        raise error
    except RuntimeError:
        logger.exception("Exception in ASGI application")
    assert bool(caplog.records) == is_news
    logger.error("without an exception")
    assert caplog.records[-1].getMessage() == "without an exception"


def test_pages_need_nothing_more_when_they_are_drawn() -> None:
    code = (
        "import sys; from dashboard.launch import import_pages; import_pages(); had = set(sys.modules);"
        "import dashboard.board_page, dashboard.voting.page, dashboard.models.page, pandas, duckdb;"
        "print(sorted(name for name in set(sys.modules) - had))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
