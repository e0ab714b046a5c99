"""The examples for Prometheus: they are YAML of the right form, and every name in them is served."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from pipeline.contracts.reasons import Reason
from pipeline.store.metrics import METRICS
from tests.conftest import ROOT

FOLDER = ROOT / "infra" / "prometheus"
LABELS = {spec.name: {*spec.labels, "instance", "job"} for spec in METRICS}
LABELS |= {"kwise_freshness_seconds_bucket": {"le", "instance", "job"}, "up": {"instance", "job"}}
_SELECTOR = re.compile(r"\b(kwise_[a-z_]+|up)\b(?:\{([^}]*)\})?")


def read_yaml(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text("utf-8"))


RULES = [rule for group in read_yaml("kwise-alerts.yml")["groups"] for rule in group["rules"]]


def test_config_scrapes_the_usual_port_and_loads_the_alerts() -> None:
    config = read_yaml("prometheus.yml")
    assert config["rule_files"] == ["kwise-alerts.yml"]
    (job,) = config["scrape_configs"]
    assert job["job_name"] == "kwise"
    assert job["static_configs"] == [{"targets": ["127.0.0.1:9464"]}]


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_alert_asks_for_metrics_and_labels_that_exist(rule: dict[str, Any]) -> None:
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert set(rule["annotations"]) == {"summary", "description"}
    assert rule["labels"]["severity"] in {"page", "ticket"}
    expression = rule["expr"]
    assert expression.count("(") == expression.count(")")
    found = _SELECTOR.findall(expression)
    assert found
    for name, matchers in found:
        assert name in LABELS, name
        for matcher in filter(None, matchers.split(",")):
            label, value = re.fullmatch(r"\s*([a-z_]+)(?:=|!=)\"([^\"]*)\"\s*", matcher).groups()  # type: ignore[union-attr]
            assert label in LABELS[name]
            assert label != "reason" or value in set(Reason)


def test_alerts_have_names_of_their_own() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names)
