"""Makes docs/cli.md from the help of all commands: ``python -m tests.docs.cli_reference``."""

from __future__ import annotations

from collections.abc import Iterator

import click

from pipeline.cli.main import kwise
from tests.docs.documents import ROOT

FILE = ROOT / "docs" / "cli.md"

_WIDTH = 100
_INTRODUCTION = """\
# Command line

Made from `--help` of all commands by `python -m tests.docs.cli_reference`; a test compares the two.

- Results go to stdout, everything else to stderr. `--format json` and `--format csv` are for programs.
- Exit codes: 0 done, 1 failed, 2 wrong use, 130 interrupted by Ctrl-C. `kwise pipeline run` and
  `kwise dashboard serve` run until Ctrl-C: for them that is a clean end, exit code 0.
- `KWISE_STORE` stands in for `--store`. `KWISE_DEBUG=1` adds tracebacks to errors.
- What URLs of event logs look like is said in [events.md](events.md#where-a-log-can-be).
"""


def render_reference() -> str:
    """Return the text of docs/cli.md."""
    return _INTRODUCTION + "".join(_render_command(kwise, ["kwise"]))


def _render_command(command: click.Command, path: list[str]) -> Iterator[str]:
    name = " ".join(path)
    with click.Context(command, info_name=name, terminal_width=_WIDTH, help_option_names=["-h", "--help"]) as context:
        text = command.get_help(context)
        yield f"\n## {name}\n\n```text\n{text.rstrip()}\n```\n"
        if isinstance(command, click.Group):
            for each in command.list_commands(context):
                found = command.get_command(context, each)
                assert found is not None
                yield from _render_command(found, [*path, each])


if __name__ == "__main__":
    FILE.write_text(render_reference(), "utf-8")
