"""What a prompt must be before any model sees it."""

from __future__ import annotations

import unicodedata
from typing import Final

from generation.errors import Refused
from pipeline.contracts.generation import MAX_PROMPT_CHARACTERS

_REFUSED: Final = frozenset({"Cc", "Cs"})
"""Control characters and halves of surrogate pairs. Format characters stay: emoji are joined by them."""


def check_prompt(text: str) -> str:
    """Return `text` with runs of white space made single spaces.

    Raises
    ------
    Refused
        It is empty, too long, or holds control characters.
    """
    clean = " ".join(text.split())
    if not clean:
        raise Refused("the prompt is empty")
    if len(clean) > MAX_PROMPT_CHARACTERS:
        raise Refused(f"the prompt has {len(clean)} characters; the limit is {MAX_PROMPT_CHARACTERS}")
    if any(unicodedata.category(character) in _REFUSED for character in clean):
        raise Refused("the prompt holds control characters")
    return clean
