"""Which models of a board are shown: by license, organization, access and tag."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dashboard.board_view import Row
from pipeline.contracts.arena import Model

ACCESS_LABELS: Final = {"open": "Open weights", "api": "API only"}


@dataclass(frozen=True, slots=True)
class Facet:
    """A field of models to filter by: its id (also in the page's address), its label, the values that occur."""

    id: str
    label: str
    values: tuple[str, ...]


_LABELS: Final = {"organization": "Organization", "license": "License", "access": "Access", "tag": "Tag"}


def list_facets(models: Iterable[Model]) -> list[Facet]:
    """Return the fields that models differ in, with their values in order of the alphabet."""
    known = list(models)
    facets = []
    for name, label in _LABELS.items():
        values = {value for model in known for value in values_of(model, name)}
        bare = any(not values_of(model, name) for model in known)
        if len(values) + bare > 1:
            facets.append(Facet(name, label, tuple(sorted(values, key=str.casefold))))
    return facets


def values_of(model: Model, facet: str) -> tuple[str, ...]:
    """Return what a model has in a field; nothing where it has none."""
    if facet == "tag":
        return model.tags
    value = getattr(model, facet)
    return () if value is None else (value,)


def label_value(facet: str, value: str) -> str:
    """Return how a value is shown."""
    return ACCESS_LABELS.get(value, value) if facet == "access" else value


def filter_rows(rows: Sequence[Row], chosen: Mapping[str, Sequence[str]]) -> tuple[Row, ...]:
    """Return the rows whose models have one of the chosen values in each field for which values are chosen."""
    wanted = {facet: frozenset(values) for facet, values in chosen.items() if values}
    return tuple(
        row for row in rows if all(values.intersection(values_of(row.model, facet)) for facet, values in wanted.items())
    )
