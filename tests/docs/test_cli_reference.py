from __future__ import annotations

from tests.docs.cli_reference import FILE, render_reference


def test_cli_reference_is_what_help_says() -> None:
    assert FILE.read_text("utf-8") == render_reference(), "make it again: python -m tests.docs.cli_reference"
