"""What a worker counts is what Prometheus sees."""

from __future__ import annotations

from generation.worker.metrics import METRICS, WorkerCollector
from generation.worker.stats import StatsBook


def test_counts_have_the_number_of_their_worker() -> None:
    books = [StatsBook(), StatsBook()]
    books[0].add("a", made=2, made_bytes=300, making_s=1.5)
    books[0].add("a", made=1, failed=1)
    books[1].add("b", loads=1, loading_s=4.0)
    books[1].add_waiting(7.0)
    books[1].note(resident=("b",), resident_bytes=9, held_jobs=3, excluded=("c", "d"), gateway_up=False)
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for metric in WorkerCollector(books).collect()
        for sample in metric.samples
    }
    assert found["kwise_generation_jobs_total", "0", "a", "made"] == 3
    assert found["kwise_generation_jobs_total", "0", "a", "failed"] == 1
    assert found["kwise_generation_jobs_total", "0", "a", "lost"] == 0
    assert found["kwise_generation_artifact_bytes_total", "0", "a"] == 300
    assert found["kwise_generation_making_seconds_total", "0", "a"] == 1.5
    assert found["kwise_generation_loads_total", "1", "b"] == 1
    assert found["kwise_generation_loading_seconds_total", "1", "b"] == 4.0
    assert found["kwise_generation_waiting_seconds_total", "1"] == 7.0
    assert found["kwise_generation_resident", "1", "b"] == 1
    assert found["kwise_generation_resident_bytes", "1"] == 9
    assert found["kwise_generation_held_jobs", "1"] == 3
    assert {key[2] for key in found if key[0] == "kwise_generation_left_alone"} == {"c", "d"}
    assert (found["kwise_generation_gateway_up", "0"], found["kwise_generation_gateway_up", "1"]) == (1, 0)
    assert {key[0] for key in found} == {spec.name for spec in METRICS}
