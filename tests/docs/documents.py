"""The documents of the project and the blocks in them.

A fenced block is more than a picture of code where its first line says so, after the language:

========================  ====================================================================================
``sh run``                run by bash in the folder of its document, which starts empty; must end with exit code 0
``sh run exit=N``         must end with exit code N
``sh run again``          run again until it ends with exit code 0 and prints what is shown: it waits for others
``sh run background``     started and left running; at the end it gets SIGINT and must end with exit code 0
``data`` (one more word)  needs the folder of real votes, $KWISE_DATA
``text output``           what the ``sh run`` block before it prints, on both channels; ``...`` stands for anything
``toml file=NAME``        written to NAME before the blocks after it are run (any language)
``json vote``             a vote that is accepted by the decoder; ``json vote=REASON``: one that is not
``json control``          a control event that is accepted
========================  ====================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMES = [path.relative_to(ROOT).as_posix() for path in DOCUMENTS]

_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^`\n]*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: where it starts, its language, the other words of its first line, its text."""

    name: str
    line: int
    language: str
    words: frozenset[str]
    text: str

    @property
    def place(self) -> str:
        return f"{self.name}:{self.line}"

    def value(self, key: str) -> str | None:
        """Return VALUE of a word ``key=VALUE``."""
        return next((word.partition("=")[2] for word in self.words if word.startswith(f"{key}=")), None)


def read_blocks(name: str) -> list[Block]:
    """Return the fenced blocks of a document, in order."""
    return list(_find_blocks(name, (ROOT / name).read_text("utf-8")))


def read_prose(name: str) -> str:
    """Return a document without its fenced blocks."""
    return _FENCE.sub("", (ROOT / name).read_text("utf-8"))


def _find_blocks(name: str, text: str) -> Iterator[Block]:
    for found in _FENCE.finditer(text):
        language, *words = found["info"].split() or [""]
        indent = found["indent"]
        body = "".join(line.removeprefix(indent) for line in found["text"].splitlines(keepends=True))
        yield Block(name, text.count("\n", 0, found.start()) + 1, language, frozenset(words), body)
