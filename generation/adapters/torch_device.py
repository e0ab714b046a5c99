"""What the diffusers adapter asks of torch: which device, how much memory, and whether an error means too little."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final, Literal

import torch

from generation.errors import ModelUnavailable, OutOfMemory

_DTYPES: Final = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
_GPU_SHARE: Final = 0.9
"""The rest of a GPU is left for activations' peaks, the driver, and other programs."""
_CPU_SHARE: Final = 0.5


def find_device(name: str) -> torch.device:
    """Return the device that `name` means; ``auto`` is the first GPU, or else the CPU.

    Raises
    ------
    ModelUnavailable
        This machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelUnavailable(f"--device {name}: {str(error).splitlines()[0]}") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ModelUnavailable(f"--device {name}: this machine has {torch.cuda.device_count()} GPUs")
    return torch.device("cuda:0") if name == "cuda" else device


def choose_dtype(name: Literal["bfloat16", "float16", "float32"] | None, device: torch.device) -> torch.dtype:
    """Return the type of the weights: bfloat16 on GPUs, which needs no loss scaling and does not overflow."""
    if name is not None:
        return _DTYPES[name]
    return torch.float32 if device.type == "cpu" else torch.bfloat16


def measure_capacity(device: torch.device) -> int:
    """Return the bytes that models may take on `device`."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory * _GPU_SHARE)
    return int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * _CPU_SHARE)


def measure_use(device: torch.device, modules: Iterable[torch.nn.Module]) -> int:
    """Return the bytes that `modules` hold on `device`."""
    seen: dict[int, int] = {}
    for module in modules:
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.device.type == device.type:
                storage = tensor.untyped_storage()
                seen[storage.data_ptr()] = storage.nbytes()
    return sum(seen.values())


def free_cache(device: torch.device) -> None:
    """Collect garbage, and give reserved memory back to the device."""
    gc.collect()
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.empty_cache()


@contextmanager
def explain_memory(what: str) -> Iterator[None]:
    """Turn errors about memory into `OutOfMemory`."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, torch.OutOfMemoryError | MemoryError) and "can't allocate memory" not in str(error):
            raise
        raise OutOfMemory(f"{what}: the device has too little memory") from None
