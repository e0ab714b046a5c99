"""`diffusers:FOLDER_OR_HUB_ID`: a pipeline of any family, for pictures or clips.

Weights come from a local folder as `save_pretrained` writes it, or from a hub; as safetensors only, since pickles run
code. Each picture has its own random generator on the CPU, so that it depends on its seed and not on its place in a
batch. Alone and in a batch pictures still differ in last bits, because matrix products of other shapes round
differently; the first one that is delivered for a recipe counts.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from diffusers import DiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from generation.adapters.base import Adapter, Request, Surroundings
from generation.adapters.torch_device import (
    choose_dtype,
    explain_memory,
    find_device,
    free_cache,
    measure_capacity,
    measure_use,
)
from generation.errors import GenerationError, Interrupted, Refused
from generation.frames import Frames, frames_from_floats
from pipeline.contracts.generation import ArtifactFormat, GenerationSettings

_WEIGHTS: Final = "*.safetensors"
_ARGUMENTS: Final = {
    "steps": "num_inference_steps",
    "guidance": "guidance_scale",
    "negative_prompt": "negative_prompt",
    "width": "width",
    "height": "height",
    "frames": "num_frames",
}
"""Field of the settings -> argument of pipelines."""

_WARM_UP: Final = Request("a lighthouse in a storm", 0, ArtifactFormat())
_WARM_UP_STEPS: Final = 2


class DiffusersAdapter(Adapter):
    """A diffusers pipeline on one device."""

    def __init__(self, source: str, settings: GenerationSettings, surroundings: Surroundings) -> None:
        super().__init__(source, settings, surroundings)
        self._device = find_device(surroundings.device)
        self._pipeline: Any = None
        self._accepts: frozenset[str] = frozenset()
        self._offload = settings.offload
        self._bytes = 0

    def load(self) -> None:
        """Read the weights and bring them to the device."""
        folder = Path(self.source)
        local = folder.is_dir()
        options: dict[str, Any] = {
            "dtype": choose_dtype(self.settings.dtype, self._device),
            "use_safetensors": True,
            "local_files_only": local,
        }
        if self.settings.variant is not None:
            options["variant"] = self.settings.variant
        if not local and self.settings.revision is not None:
            options["revision"] = self.settings.revision
        diffusers_logging.disable_progress_bar()
        transformers_logging.disable_progress_bar()
        with explain_memory(self.source):
            try:
                pipeline = DiffusionPipeline.from_pretrained(self.source, **options)
            except (OSError, ValueError) as error:
                why = str(error).splitlines()[0]
                raise GenerationError(f"diffusers:{self.source} cannot be loaded: {why}") from None
            pipeline.set_progress_bar_config(disable=True)
            self._pipeline = pipeline
            self._accepts = frozenset(inspect.signature(pipeline.__call__).parameters)
            self._check_arguments()
            self._place()
        self._bytes = measure_use(self._device, self._modules())

    def _check_arguments(self) -> None:
        """See that the pipeline takes what the settings say: a clip must not silently be a picture."""
        said = {name for field, name in _ARGUMENTS.items() if getattr(self.settings, field) is not None}
        if unknown := sorted((said | set(self.settings.extra)) - self._accepts):
            name = type(self._pipeline).__name__
            raise GenerationError(f"generation: {name} takes no {', '.join(unknown)}", retriable=False)

    def _place(self) -> None:
        if self._device.type == "cpu" or self._offload is None:
            self._pipeline.to(self._device)
        elif self._offload == "model":
            self._pipeline.enable_model_cpu_offload(device=self._device)
        else:
            self._pipeline.enable_sequential_cpu_offload(device=self._device)
        if self.settings.compile:
            for name in ("transformer", "unet"):
                if (module := getattr(self._pipeline, name, None)) is not None:
                    module.compile()

    def warm_up(self) -> None:
        """Let kernels be chosen and compiled, on GPUs."""
        if self._device.type != "cpu" or self.settings.compile:
            self._call([_WARM_UP], lambda: False, min(_WARM_UP_STEPS, self.settings.steps or _WARM_UP_STEPS))

    def generate(self, requests: Sequence[Request], stop: Callable[[], bool]) -> list[Frames | Refused]:
        """Make all of `requests` as one batch."""
        output = self._call(requests, stop, self.settings.steps)
        flagged = getattr(output, "nsfw_content_detected", None) or [False] * len(requests)
        made: list[Frames | Refused] = []
        for place, unsafe in enumerate(flagged):
            if unsafe:
                made.append(Refused("the pipeline's safety checker stopped it"))
            else:
                made.append(self._read(output, place))
        return made

    def _call(self, requests: Sequence[Request], stop: Callable[[], bool], steps: int | None) -> Any:
        single = len(requests) == 1
        generators = [torch.Generator("cpu").manual_seed(request.seed) for request in requests]
        texts = [request.text for request in requests]  # a new list: some pipelines write into it
        negative = self.settings.negative_prompt

        def watch(_pipeline: Any, _step: int, _time: Any, values: dict[str, Any]) -> dict[str, Any]:
            if stop():
                raise Interrupted("the worker stops")
            return values

        wanted = {name: getattr(self.settings, field) for field, name in _ARGUMENTS.items()} | {
            "prompt": texts[0] if single else texts,
            "generator": generators[0] if single else generators,
            "num_inference_steps": steps,
            "negative_prompt": negative if negative is None or single else [negative] * len(texts),
            "output_type": "np",
            "callback_on_step_end": watch,
        }
        given = {name: value for name, value in wanted.items() if value is not None and name in self._accepts}
        with torch.inference_mode(), explain_memory(f"{len(requests)} at once by {self.source}"):
            return self._pipeline(**(given | self.settings.extra))

    def _read(self, output: Any, place: int) -> Frames:
        values = getattr(output, "images", None)
        if values is None:
            values = output.frames
        pixels = np.asarray(values[place], np.float32)
        rate = self.settings.frames_per_second
        return frames_from_floats(pixels if pixels.ndim == 4 else pixels[None], rate)

    def offload(self) -> bool:
        """Go from all weights on the GPU to one part of the model at a time, then to one layer at a time."""
        if self._device.type == "cpu" or self._pipeline is None or self._offload == "sequential":
            return False
        self._offload = "model" if self._offload is None else "sequential"
        self._pipeline.remove_all_hooks()
        self._pipeline.to("cpu")
        self.free_cache()
        self._place()
        self._bytes = measure_use(self._device, self._modules())
        return True

    def free_cache(self) -> None:
        """Give back what torch keeps for later."""
        free_cache(self._device)

    def release(self) -> None:
        """Forget the pipeline."""
        self._pipeline = None
        self._bytes = 0
        self.free_cache()

    @property
    def memory_bytes(self) -> int:
        """Bytes of weights on the device."""
        return self._bytes

    @property
    def capacity_bytes(self) -> int | None:
        """Bytes for models on the device."""
        return measure_capacity(self._device)

    def estimate_bytes(self) -> int:
        """Return the size of the weights' files, which are about as large as the weights; 0 for those on a hub."""
        folder = Path(self.source)
        if not folder.is_dir():
            return 0
        wanted = f".{self.settings.variant}." if self.settings.variant else "."
        return sum(path.stat().st_size for path in folder.rglob(_WEIGHTS) if wanted in path.name)

    def _modules(self) -> Iterator[torch.nn.Module]:
        for component in self._pipeline.components.values():
            if isinstance(component, torch.nn.Module):
                yield component
