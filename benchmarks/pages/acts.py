"""What readers do on the pages, each with what is there when it is done, as JavaScript."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Act:
    """An act: its name, what is done, and what then holds."""

    name: str
    do: str
    is_there: str


_SCREEN = 30
"""Rows: more than a screen shows. A long table's other rows follow after the first frame."""


def make_acts() -> tuple[Act, ...]:
    """Return what a reader does who goes through all pages, from the board and back."""
    return (
        Act("method", _press("Elo"), f"{_rows('.kw-board')} && document.querySelector('.kw-board .kw-dot')"),
        Act("all methods", _press("Side by side"), _rows(".kw-scroll")),
        Act("method again", _press("Posterior"), f"{BOARD} && document.querySelector('.kw-board .kw-tick')"),
        Act("find", _type("Find", "garnet"), "(rows => rows > 0 && rows < 25)(document.querySelectorAll('tr').length)"),
        Act("find no more", _type("Find", ""), BOARD),
        Act("model", "document.querySelector('tr[data-model] a').click()", _rows('[aria-label$="each other model"]')),
        Act("pairs", _go("Pairs"), "document.querySelector('.kw-matrix')"),
        Act("pairs predicted", _press("Predicted"), _matrix("predicted")),
        Act("pairs seen", _press("Seen"), _matrix("seen")),
        Act("ranks", _go("Ranks"), f"{_title('Ranks')} && document.querySelector('canvas')"),
        Act("matchmaking", _go("Matchmaking"), "document.querySelector('.kw-amount')"),
        Act("operations", _go("Operations"), f"{_title('Operations')} && document.querySelector('.kw-panels')"),
        Act("board", _go("Board"), BOARD),
    )


BOARD = f"document.querySelectorAll('tr[data-model]').length >= {_SCREEN}"
"""What holds when the board fills the screen."""


def _rows(table: str) -> str:
    return f"document.querySelectorAll('{table} tbody tr').length >= {_SCREEN}"


def _title(text: str) -> str:
    return f"document.querySelector('h1')?.textContent.includes('{text}')"


def _matrix(shown: str) -> str:
    return f"document.querySelector('.kw-scroll')?.ariaLabel === 'Matrix of pairs, {shown}'"


def _press(label: str) -> str:
    return f"[...document.querySelectorAll('button')].find(each => each.textContent === '{label}').click()"


def _go(title: str) -> str:
    links = "document.querySelectorAll('[data-testid=stTopNavLink]')"
    return f"[...{links}].find(each => each.textContent === '{title}').click()"


def _type(label: str, text: str) -> str:
    return (
        f"const field = document.querySelector('[aria-label={label}]');"
        "Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(field, '{text}');"
        "field.dispatchEvent(new Event('input', {bubbles: true}))"
    ).replace("{text}", text)
