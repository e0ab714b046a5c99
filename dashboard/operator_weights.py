"""The likelihoods that `average` weighs, as the operator page shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dashboard.formatting import ABSENT, format_chance, format_count, format_plural
from dashboard.markup import Markup, TableColumn, render_section, render_table
from pipeline.contracts.snapshot import Board


def render_weights(boards: Sequence[tuple[str, Board]]) -> str:
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
