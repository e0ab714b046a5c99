"""The likelihoods that `average` weighs, as the operator page shows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import pyarrow as pa

from dashboard.formatting import ABSENT, format_chance, format_count, format_plural
from dashboard.markup import Markup, TableColumn, render_section, render_table
from pipeline.contracts.snapshot import Board

WEIGHT_SCHEMA: Final = pa.schema(
    [
        ("arena", pa.string()),
        ("likelihood", pa.string()),
        ("lapse", pa.float64()),
        ("loss", pa.float64()),
        ("weight", pa.float64()),
    ]
)
"""One row a likelihood of an arena's `average`."""


def tabulate_weights(boards: Iterable[tuple[str, Board]]) -> pa.Table:
    """Return the weights of each arena's board by `average` as `WEIGHT_SCHEMA`."""
    rows = [
        {
            "arena": board.arena,
            "likelihood": each["name"],
            **{name: each.get(name) for name in ("lapse", "loss", "weight")},
        }
        for _, board in boards
        for each in board.parameters.get("likelihoods", ())
    ]
    return pa.Table.from_pylist(rows, schema=WEIGHT_SCHEMA)


def render_weights(boards: Iterable[tuple[str, Board]]) -> str:
    """Render the weights of each arena (title, board by `average`); nothing where no board says them."""
    return "".join(
        _render_arena(title, board.parameters) for title, board in boards if board.parameters.get("likelihoods")
    )


def _render_arena(title: str, parameters: Mapping[str, Any]) -> str:
    blocks = int(parameters.get("blocks", 0))
    columns = (
        TableColumn("Likelihood"),
        TableColumn("Lapse", is_number=True, wide_only=True),
        TableColumn("Loss", is_number=True),
        TableColumn("Weight", is_number=True),
        TableColumn(""),
    )
    rows: list[list[str | Markup]] = [
        [
            str(each["name"]),
            format_chance(each.get("lapse")),
            ABSENT if not blocks else f"{each['loss']:,.1f}",
            format_chance(each["weight"]),
            Markup(f'<div class="kw-amount"><i style="width:{100 * each["weight"]:.1f}%"></i></div>'),
        ]
        for each in parameters["likelihoods"]
    ]
    aside = f"{title}: weights of likelihoods, after {format_plural(blocks, 'block')} of votes"
    loss = parameters.get("loss")
    said = (
        f'<p class="kw-legend">Loss: minus the logarithm of what each gave the votes, summed over blocks before it had '
        f"seen them; of the average {format_count(round(loss))}.</p>"
        if blocks and isinstance(loss, int | float)
        else '<p class="kw-legend">No block of votes has ended so far: all weigh the same.</p>'
    )
    return render_section("Average", aside) + render_table(columns, rows, f"Weights of likelihoods, {title}") + said
