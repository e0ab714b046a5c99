"""The tables of metrics in the documents are what jobs and workers serve."""

from __future__ import annotations

import re

from generation.worker.metrics import METRICS as GENERATION_METRICS
from pipeline.store.metrics import METRICS
from tests.docs.documents import read_prose

_ROW = re.compile(r"^\| `(kwise_[a-z_]+)`(?: ([a-z, ]+))? \| (counter|gauge|histogram) \| (.+) \|$", re.MULTILINE)


def test_metrics_are_documented_as_they_are() -> None:
    documented = _ROW.findall(read_prose("docs/operations.md"))
    served = [(spec.name, ", ".join(spec.labels), spec.kind, spec.help.rstrip(".")) for spec in METRICS]
    assert documented == served


def test_metrics_of_workers_are_documented_as_they_are() -> None:
    documented = _ROW.findall(read_prose("docs/generation.md"))
    served = [
        (spec.name, ", ".join(("worker", *spec.labels)), spec.kind, spec.help.rstrip("."))
        for spec in GENERATION_METRICS
    ]
    assert documented == served
