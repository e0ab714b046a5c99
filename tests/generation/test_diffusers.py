"""Pipelines of several families with random weights, loaded from a folder like any other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from generation.adapters.base import Request, Surroundings
from generation.adapters.diffusers_pipeline import DiffusersAdapter
from generation.adapters.registry import make_adapter
from generation.adapters.torch_device import choose_dtype, explain_memory, find_device
from generation.errors import GenerationError, Interrupted, ModelUnavailable, OutOfMemory, Refused
from generation.frames import Frames, decode_frames, encode_frames
from pipeline.contracts.generation import ArtifactFormat, GenerationSettings
from tests.generation.tiny_pipelines import FAMILIES, family_settings

FORM = ArtifactFormat(width=48, height=48)
REQUESTS = [
    Request("a red circle above a blue square", 1, FORM),
    Request("a cat", 2, FORM),
    Request("two green stars on a dark blue sky, painted in oil", 3, FORM),
]


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder with the weights of each family, as `save_pretrained` writes it."""
    torch.set_num_threads(1)  # tiny matrices: more threads only wait for each other
    base = tmp_path_factory.mktemp("weights")
    for number, (name, (make, _, _)) in enumerate(FAMILIES.items()):
        torch.manual_seed(number)
        make().save_pretrained(base / name)
    return {name: base / name for name in FAMILIES}


def load(folder: Path, settings: GenerationSettings) -> DiffusersAdapter:
    adapter = make_adapter(f"diffusers:{folder}", settings, Surroundings(device="cpu"))
    assert isinstance(adapter, DiffusersAdapter)
    adapter.load()
    return adapter


@pytest.fixture
def adapter(folders: dict[str, Path]) -> Iterator[DiffusersAdapter]:
    made = load(folders["stable-diffusion"], family_settings("stable-diffusion"))
    yield made
    made.release()


def frames(made: Frames | Refused) -> Frames:
    assert isinstance(made, Frames)
    return made


def distance(one: Frames, other: Frames) -> int:
    return int(np.abs(one.pixels.astype(int) - other.pixels.astype(int)).max())


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_loaded_asked_and_repeatable(folders: dict[str, Path], name: str) -> None:
    settings = family_settings(name)
    adapter = load(folders[name], settings)
    batch = [frames(each) for each in adapter.generate(REQUESTS, lambda: False)]
    count = settings.frames or 1
    assert {each.pixels.shape for each in batch} == {(count, 64, 64, 3)}
    assert all(each.pixels.std() > 1 for each in batch)
    # The same batch again: the same bits. Alone: the last bit may differ, because matrices have other shapes.
    again = [frames(each) for each in adapter.generate(REQUESTS, lambda: False)]
    assert [distance(one, other) for one, other in zip(batch, again, strict=True)] == [0, 0, 0]
    alone = [frames(adapter.generate([request], lambda: False)[0]) for request in REQUESTS]
    assert max(distance(one, other) for one, other in zip(batch, alone, strict=True)) <= 2
    assert distance(batch[0], batch[1]) > 2
    clip = decode_frames(encode_frames(batch[0], FORM))
    assert clip.pixels.shape == (count, 48, 48, 3)
    used = adapter.memory_bytes
    assert 0.5 * adapter.estimate_bytes() < used < 1.5 * adapter.estimate_bytes()
    assert adapter.capacity_bytes > used  # type: ignore[operator]
    adapter.release()
    assert adapter.memory_bytes == 0


def test_prompt_and_seed_and_settings_decide_the_picture(adapter: DiffusersAdapter, folders: dict[str, Path]) -> None:
    (made,) = adapter.generate([REQUESTS[0]], lambda: False)
    for other in (Request("another", 1, FORM), Request(REQUESTS[0].text, 9, FORM)):
        assert distance(frames(made), frames(adapter.generate([other], lambda: False)[0])) > 0
    slow = load(folders["stable-diffusion"], family_settings("stable-diffusion", steps=6))
    assert distance(frames(made), frames(slow.generate([REQUESTS[0]], lambda: False)[0])) > 0


def test_a_stop_breaks_off_between_two_steps(adapter: DiffusersAdapter) -> None:
    steps: list[int] = []

    def stop() -> bool:
        steps.append(1)
        return len(steps) == 2

    with pytest.raises(Interrupted):
        adapter.generate(REQUESTS, stop)
    assert len(steps) == 2
    assert len(adapter.generate(REQUESTS, lambda: False)) == 3


def test_what_a_safety_checker_flags_is_a_refusal(adapter: DiffusersAdapter, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(image: Any, *_arguments: Any) -> tuple[Any, list[bool]]:
        return image, [False, True, False]

    monkeypatch.setattr(adapter._pipeline, "run_safety_checker", check)
    made = adapter.generate(REQUESTS, lambda: False)
    assert [isinstance(each, Refused) for each in made] == [False, True, False]


def test_half_precision_that_overflows_is_an_error_and_no_black_square(
    adapter: DiffusersAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overflow(*_arguments: Any, **_named: Any) -> tuple[torch.Tensor]:
        return (torch.full((1, 3, 64, 64), float("nan")),)

    monkeypatch.setattr(adapter._pipeline.vae, "decode", overflow)
    with pytest.raises(GenerationError, match="no numbers"):
        adapter.generate(REQUESTS[:1], lambda: False)


def test_errors_of_loading_say_what_is_wrong(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(GenerationError, match="cannot be loaded"):
        load(tmp_path, GenerationSettings())
    with pytest.raises(GenerationError, match="StableDiffusionPipeline takes no colour, num_frames, taste") as caught:
        load(folders["stable-diffusion"], GenerationSettings(frames=8, extra={"colour": 1, "taste": 2, "eta": 0.5}))
    assert not caught.value.retriable


def test_pickled_weights_are_not_read(folders: dict[str, Path], tmp_path: Path) -> None:
    pipeline = FAMILIES["stable-diffusion"][0]()
    pipeline.save_pretrained(tmp_path / "pickled", safe_serialization=False)
    with pytest.raises(GenerationError, match="cannot be loaded"):
        load(tmp_path / "pickled", GenerationSettings())


def test_devices_and_types() -> None:
    cpu = torch.device("cpu")
    assert find_device("cpu") == cpu
    for name in ("gpu9", "cuda:99"):
        with pytest.raises(ModelUnavailable, match=f"--device {name}"):
            find_device(name)
    assert choose_dtype(None, cpu) == torch.float32
    assert choose_dtype(None, torch.device("cuda:0")) == torch.bfloat16
    assert choose_dtype("float16", cpu) == torch.float16


def test_errors_about_memory_are_told_from_others() -> None:
    for error in (
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory"),
    ):
        with pytest.raises(OutOfMemory), explain_memory("x"):
            raise error
    with pytest.raises(RuntimeError, match="shapes"), explain_memory("x"):
        raise RuntimeError("shapes do not match")


def test_a_batch_larger_than_memory_is_told_apart(adapter: DiffusersAdapter, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: Any, **_named: Any) -> torch.Tensor:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")

    monkeypatch.setattr(adapter._pipeline, "prepare_latents", fail)
    with pytest.raises(OutOfMemory, match="3 at once"):
        adapter.generate(REQUESTS, lambda: False)
    assert not adapter.offload()  # on the CPU there is nowhere to go


class PipelineOnGpu:
    """Takes note of where its weights were asked to be."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.components: dict[str, Any] = {}

    def to(self, device: Any) -> None:
        self.calls.append(f"to {device}")

    def remove_all_hooks(self) -> None:
        self.calls.append("remove hooks")

    def enable_model_cpu_offload(self, device: Any) -> None:
        self.calls.append(f"by parts {device}")

    def enable_sequential_cpu_offload(self, device: Any) -> None:
        self.calls.append(f"by layers {device}")


def test_weights_leave_a_gpu_by_parts_then_by_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("generation.adapters.diffusers_pipeline.free_cache", lambda _device: None)
    adapter = DiffusersAdapter("x", GenerationSettings(), Surroundings(device="cpu"))
    adapter._device = torch.device("cuda:1")
    pipeline = adapter._pipeline = PipelineOnGpu()
    assert adapter.offload()
    assert pipeline.calls == ["remove hooks", "to cpu", "by parts cuda:1"]
    assert adapter.offload()
    assert pipeline.calls[3:] == ["remove hooks", "to cpu", "by layers cuda:1"]
    assert not adapter.offload()
