"""Links in the documents lead somewhere, and nothing in them belongs to one machine."""

from __future__ import annotations

import re

import pytest

from tests.docs.documents import NAMES, ROOT, read_prose

_LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|srcset|href)=\"([^\"]+)\"")
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
LINKED = [*NAMES, "CHANGELOG.md"]


def anchors_of(text: str) -> set[str]:
    """Return the anchors that GitHub makes of headings."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in _HEADING.findall(text)}


@pytest.mark.parametrize("name", LINKED)
def test_links_resolve(name: str) -> None:
    targets = [first or second for first, second in _LINK.findall(read_prose(name))]
    for target in targets:
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name
        assert file.exists(), target
        if anchor:
            assert anchor in anchors_of(file.read_text("utf-8")), target


@pytest.mark.parametrize("name", LINKED)
def test_no_path_of_one_machine(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    assert not re.findall(r"(?:/work/|/home/|/root/|/tmp/|file://)\S*", text)
