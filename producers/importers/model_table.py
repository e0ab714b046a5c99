"""Names, organizations, licenses and links of models, from a CSV beside the votes.

Columns are found by name, whatever their case and order: ``key`` (``mokey`` in GenAI-Arena's files, or
``id``) is how the votes call a model; ``Model`` or ``name``, ``Organization``, ``License``, ``Link`` or
``url`` are optional.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from pipeline.contracts.arena import Model
from producers.importers.errors import ImportFault

_KEYS = ("key", "mokey", "id")
_COLUMNS = {
    "name": ("model", "name"),
    "organization": ("organization",),
    "license": ("license",),
    "url": ("link", "url"),
}


def read_model_table(path: Path) -> dict[str, dict[str, str]]:
    """Read a CSV: key -> the fields of `Model` that are given. Raises `ImportFault`."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            columns = {name.strip().lower(): name for name in reader.fieldnames or ()}
            key = next((columns[name] for name in _KEYS if name in columns), None)
            if key is None:
                raise ImportFault(path, 1, f"has no column {' or '.join(_KEYS)} to tell the models by")
            found = {field: columns[name] for field, names in _COLUMNS.items() for name in names if name in columns}
            rows = list(reader)
    except OSError as error:
        raise ImportFault(path, None, error.strerror or str(error)) from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise ImportFault(path, None, f"is not a CSV: {error}") from None
    return {
        row[key].strip(): {field: text for field, column in found.items() if (text := (row[column] or "").strip())}
        for row in rows
        if (row[key] or "").strip()
    }


def find_model_table(votes: Path, asked: Path | None) -> dict[str, dict[str, str]]:
    """Read the table that was asked for, or else the last ``*leaderboard*.csv`` beside the votes."""
    if asked is not None:
        return read_model_table(asked)
    beside = sorted(votes.parent.glob("*leaderboard*.csv"))
    return read_model_table(beside[-1]) if beside else {}


def describe_model(model_id: str, name: str, table: Mapping[str, Mapping[str, str]]) -> Model:
    """Return the model `name` with what the table says of it."""
    details = table.get(name, {})
    return Model(
        id=model_id,
        name=details.get("name", name),
        organization=details.get("organization"),
        license=details.get("license"),
        url=details.get("url"),
    )
