"""The table of metrics in docs/operations.md is what the job serves."""

from __future__ import annotations

import re

from pipeline.store.metrics import METRICS
from tests.docs.documents import read_prose

_ROW = re.compile(r"^\| `(kwise_[a-z_]+)`(?: ([a-z, ]+))? \| (counter|gauge|histogram) \| (.+) \|$", re.MULTILINE)


def test_metrics_are_documented_as_they_are() -> None:
    documented = _ROW.findall(read_prose("docs/operations.md"))
    served = [(spec.name, ", ".join(spec.labels), spec.kind, spec.help.rstrip(".")) for spec in METRICS]
    assert documented == served
