"""Custom prompts: what a voter may type."""

from __future__ import annotations

import unicodedata
from typing import Final

from producers.gateway.errors import GatewayError

_REFUSED: Final = {"Cc", "Cs", "Co", "Cn", "Zl", "Zp"}
_DIRECTIONS: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")
"""They make a text look like another one."""


def check_prompt(text: str, max_chars: int) -> str:
    """Return a custom prompt without the blanks around it. Raises `GatewayError` 422.

    Control characters, unassigned ones and marks of direction are refused: the text goes to models, into the log and
    onto pages.
    """
    stripped = text.strip()
    if not stripped:
        raise GatewayError(422, "bad_prompt", "the prompt is empty")
    if len(stripped) > max_chars:
        raise GatewayError(422, "bad_prompt", f"the prompt has {len(stripped)} characters; at most {max_chars}")
    for character in stripped:
        if unicodedata.category(character) in _REFUSED or character in _DIRECTIONS:
            raise GatewayError(
                422, "bad_prompt", f"the prompt has a character that is not taken: U+{ord(character):04X}"
            )
    return stripped
