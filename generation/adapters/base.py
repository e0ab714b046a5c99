"""What every adapter can do, and what it is given."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from generation.errors import Refused
from generation.frames import Frames
from pipeline.contracts.generation import ArtifactFormat, GenerationSettings


@dataclass(frozen=True, slots=True)
class Request:
    """One artifact to make. `text` was checked; `form` is the size that the artifact will have in the end."""

    text: str
    seed: int
    form: ArtifactFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a worker lends to its adapters.

    Attributes
    ----------
    device
        ``auto``, ``cpu``, or a device of torch such as ``cuda:1``.
    allow_commands
        Whether programs that arena files name may be run.
    environment
        Where keys of API models are found.
    state
        Folder that remembers spent budgets; without one, models with a budget are not served.
    """

    device: str = "auto"
    allow_commands: bool = False
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    state: Path | None = None


class Adapter(ABC):
    """A model on this worker. Used by one thread at a time.

    Parameters
    ----------
    source
        What the generator string says after its first colon.
    settings
        How the model makes artifacts.
    surroundings
        What the worker lends.
    """

    def __init__(self, source: str, settings: GenerationSettings, surroundings: Surroundings) -> None:
        self.source = source
        self.settings = settings
        self.surroundings = surroundings

    def load(self) -> None:
        """Bring the model to where it can work. Raises `GenerationError`, `OutOfMemory` among them."""

    def warm_up(self) -> None:
        """Do once what makes the first artifact slow."""

    @abstractmethod
    def generate(self, requests: Sequence[Request], stop: Callable[[], bool]) -> list[Frames | Refused]:
        """Make what is asked, one answer a request; breaks off with `Interrupted` soon after `stop` says True."""

    def offload(self) -> bool:
        """Take less memory on the device from now on, at the price of time; False if there is no way left."""
        return False

    def free_cache(self) -> None:
        """Give back memory that is reserved but unused."""

    def release(self) -> None:
        """Give everything back. The adapter is not used again."""

    @property
    def memory_bytes(self) -> int:
        """Bytes that the loaded model takes on its device, as measured."""
        return 0

    @property
    def capacity_bytes(self) -> int | None:
        """Bytes that models may take on the device; None if they take none."""
        return None

    def estimate_bytes(self) -> int:
        """Return about how many bytes the model will take, before it is loaded; 0 if nothing can be said."""
        return 0
