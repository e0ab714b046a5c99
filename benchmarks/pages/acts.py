"""What readers do on the pages, each with what is there when it is done, as JavaScript."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Act:
    """An act: its name, what is done, and what then holds."""

    name: str
    do: str
    is_there: str


_BOARD_ROWS = "document.querySelectorAll('tr[data-model]').length"


def make_acts(models: int) -> tuple[Act, ...]:
    """Return what a reader of an arena of so many models does who goes through all pages, from the board and back."""
    board = board_is_there(models)
    return (
        Act("method", _press("Elo"), f"{_has('.kw-legend', 'Elo states no')} && {board}"),
        Act("all methods", _press("Side by side"), f"{_rows('.kw-scroll')} === {models}"),
        Act("method again", _press("Posterior"), f"{_has('.kw-legend', 'credible')} && {board}"),
        Act("find", _type("Find", "garnet"), f"0 < {_BOARD_ROWS} && {_BOARD_ROWS} < {models}"),
        Act("find no more", _type("Find", ""), board),
        Act("model", "document.querySelector('tr[data-model] a').click()", f"{_rows('.stApp')} >= {models - 1}"),
        Act("pairs", _go("Pairs"), "document.querySelector('.kw-matrix')"),
        Act("pairs predicted", _press("Predicted"), "document.querySelector('[aria-label$=\", predicted\"]')"),
        Act("ranks", _go("Ranks"), f"{_has('h1', 'Ranks')} && document.querySelector('canvas')"),
        Act("matchmaking", _go("Matchmaking"), "document.querySelector('.kw-amount')"),
        Act("operations", _go("Operations"), f"{_has('h1', 'Operations')} && document.querySelector('.kw-panels')"),
        Act("board", _go("Board"), board),
    )


def board_is_there(models: int) -> str:
    """Return what holds when all rows of the board are there."""
    return f"{_BOARD_ROWS} === {models}"


def _rows(within: str) -> str:
    return f"document.querySelectorAll('{within} tbody tr').length"


def _has(element: str, text: str) -> str:
    return f"document.querySelector('{element}')?.textContent.includes('{text}')"


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
