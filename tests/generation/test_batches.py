"""Batches survive small memory and bad prompts; models come and go as memory allows."""

from __future__ import annotations

import pytest

from generation.adapters.base import Request, Surroundings
from generation.adapters.registry import make_adapter
from generation.errors import GenerationError, Interrupted, ModelUnavailable, OutOfMemory, Refused
from generation.frames import Frames
from generation.worker.batches import make_batch
from generation.worker.residency import Residency, Resident
from pipeline.contracts.generation import GenerationSettings
from tests.generation.fakes import FORM, FakeDevice, make_job


class Loads:
    """Notes what a residency did."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.released: list[str] = []


def make_residency(loads: Loads | None = None, limit: int | None = None, share: float = 1.0) -> Residency:
    loads = loads or Loads()
    return Residency(
        lambda identity: make_adapter(identity.generator, identity.settings, Surroundings()),
        limit,
        lambda model, _seconds: loads.loaded.append(model),
        loads.released.append,
        lambda: 0.0,
        share,
    )


def ask(count: int, bad: int | None = None) -> list[Request]:
    return [Request("bad" if number == bad else "good", number, FORM) for number in range(count)]


def run(resident: Resident, residency: Residency, requests: list[Request]) -> list[Frames | Refused | GenerationError]:
    outcomes = list(make_batch(requests, resident, residency, lambda: False))
    assert [place for place, _ in outcomes] == list(range(len(outcomes)))
    return [outcome for _, outcome in outcomes]


def test_a_batch_is_one_call(device: FakeDevice) -> None:
    residency = make_residency()
    last: list[int] = []
    resident = residency.use(make_job(1))
    outcomes = list(make_batch(ask(8), resident, residency, lambda: False, lambda: last.append(len(device.calls))))
    assert device.calls == [("ok", 8)]
    assert len(outcomes) == 8
    assert last == [0]  # told before the call


def test_settings_limit_the_batch(device: FakeDevice) -> None:
    residency = make_residency()
    resident = residency.use(make_job(1, generation=GenerationSettings(max_batch=3)))
    assert len(run(resident, residency, ask(8))) == 8
    assert [size for _, size in device.calls] == [3, 3, 2]


def test_less_is_made_at_once_where_memory_is_short_and_that_is_remembered(device: FakeDevice) -> None:
    residency = make_residency()
    resident = residency.use(make_job(1, generator="fake:size=70,each=10"))
    assert all(isinstance(each, Frames) for each in run(resident, residency, ask(8)))
    assert [size for _, size in device.calls] == [8, 4, 2, 2, 2, 2]
    run(resident, residency, ask(4))
    assert [size for _, size in device.calls[6:]] == [2, 2]


def test_other_models_make_room_then_weights_leave_the_device(device: FakeDevice) -> None:
    loads = Loads()
    residency = make_residency(loads)
    residency.use(make_job(1, "other", "fake:size=30"))
    resident = residency.use(make_job(2, "big", "fake:size=60,each=50,offload"))
    assert all(isinstance(each, Frames) for each in run(resident, residency, ask(2)))
    assert [size for _, size in device.calls] == [2, 1, 1, 1, 1]
    assert loads.released == ["other"]
    assert resident.adapter.memory_bytes == 6


def test_a_model_that_fits_in_no_way_is_released(device: FakeDevice) -> None:
    loads = Loads()
    residency = make_residency(loads)
    resident = residency.use(make_job(1, "huge", "fake:size=60,each=500"))
    with pytest.raises(OutOfMemory, match="single artifact"):
        run(resident, residency, ask(4))
    assert loads.released == ["huge"]
    assert device.used == {}


def test_one_bad_prompt_spoils_no_other(device: FakeDevice) -> None:
    residency = make_residency()
    resident = residency.use(make_job(1, generator="fake:poison", generation=GenerationSettings(max_batch=4)))
    outcomes = run(resident, residency, ask(10, bad=1))
    assert [isinstance(each, GenerationError) for each in outcomes] == [place == 1 for place in range(10)]
    assert [size for _, size in device.calls] == [4, 1, 1, 1, 1, 4, 2]


def test_foreign_errors_are_the_requests_own(device: FakeDevice) -> None:
    residency = make_residency()
    resident = residency.use(make_job(1, generator="fake:broken"))
    (outcome,) = run(resident, residency, ask(1))
    assert isinstance(outcome, GenerationError)
    assert (str(outcome), outcome.retriable) == ("RuntimeError: always broken", True)


def test_a_stop_breaks_off(device: FakeDevice) -> None:
    residency = make_residency()
    resident = residency.use(make_job(1, generator="fake:slow"))
    with pytest.raises(Interrupted):
        list(make_batch(ask(2), resident, residency, lambda: True))


def test_the_model_used_longest_ago_goes_first(device: FakeDevice) -> None:
    loads = Loads()
    residency = make_residency(loads)
    jobs = {name: make_job(1, name, f"fake:size=40,estimates,name={name}") for name in "abc"}
    residency.use(jobs["a"])
    residency.use(jobs["b"])
    assert residency.bytes == 80
    residency.use(jobs["a"])
    assert residency.models == ("a", "b")
    residency.use(jobs["c"])
    assert (residency.models, loads.released) == (("c", "a"), ["b"])
    assert sum(device.used.values()) == 80


def test_a_model_larger_than_it_seemed_makes_room_afterwards(device: FakeDevice) -> None:
    loads = Loads()
    residency = make_residency(loads, limit=60)
    residency.use(make_job(1, "a", "fake:size=40"))
    residency.use(make_job(1, "b", "fake:size=50"))
    assert (residency.models, loads.released) == (("b",), ["a"])
    residency.use(make_job(1, "a", "fake:size=40"))  # measured by now: room is made before
    assert max(device.used.values()) == 40


def test_workers_on_one_device_take_a_share_each(device: FakeDevice) -> None:
    residency = make_residency(share=0.5)
    residency.use(make_job(1, "a", "fake:size=30,estimates"))
    residency.use(make_job(1, "b", "fake:size=25,estimates"))
    assert residency.models == ("b",)


def test_a_full_device_is_emptied_for_a_model_that_says_nothing_of_its_size(device: FakeDevice) -> None:
    loads = Loads()
    residency = make_residency(loads, limit=1000)
    residency.use(make_job(1, "a", "fake:size=70"))
    residency.use(make_job(1, "b", "fake:size=60"))
    assert (residency.models, loads.released) == (("b",), ["a"])
    with pytest.raises(OutOfMemory, match="even alone"):
        residency.use(make_job(1, "c", "fake:size=101"))
    assert residency.models == ()
    assert device.used == {}


def test_other_settings_are_another_model(device: FakeDevice) -> None:
    residency = make_residency()
    one = residency.use(make_job(1, generation=GenerationSettings(steps=4)))
    assert residency.use(make_job(2, generation=GenerationSettings(steps=5))) is not one
    assert residency.use(make_job(3, generation=GenerationSettings(steps=4), revision="abc")) is not one
    assert residency.use(make_job(4, "another-name", generation=GenerationSettings(steps=4))) is one
    assert residency.models[:2] == ("another-name", "model-01")


def test_models_that_cannot_be_loaded_leave_nothing_behind(device: FakeDevice) -> None:
    residency = make_residency()
    with pytest.raises(ModelUnavailable):
        residency.use(make_job(1, generator="fake:unavailable"))
    with pytest.raises(GenerationError, match="loading failed: RuntimeError: weights are broken"):
        residency.use(make_job(1, generator="fake:unloadable"))
    for generator in (None, "", "magic:x", "demo"):
        with pytest.raises(ModelUnavailable, match="unknown"):
            residency.use(make_job(1, generator=generator))  # type: ignore[arg-type]
    assert residency.models == ()
