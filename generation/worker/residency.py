"""Which models are loaded: as many as the device's memory holds; the one used longest ago goes first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from generation.adapters.base import Adapter
from generation.errors import GenerationError, OutOfMemory, describe_error
from pipeline.contracts.generation import GenerationSettings, WorkJob


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes a model another one: its generator and all its settings."""

    generator: str | None
    settings: GenerationSettings

    @classmethod
    def of(cls, job: WorkJob) -> Identity:
        """Return the identity of a job's model."""
        return cls(job.generator, job.settings)

    def __hash__(self) -> int:
        return hash((self.generator, repr(self.settings)))


@dataclass(slots=True)
class Resident:
    """A loaded model. `batch`: most that may be made at once, by its settings or because more did not fit."""

    adapter: Adapter
    models: set[str] = field(default_factory=set)
    batch: int | None = None


class Residency:
    """Loaded models of one device. Not for several threads at once.

    Parameters
    ----------
    make
        Makes an adapter that is not loaded.
    limit_bytes
        Bytes that models may take together; None: what adapters say that the device has, times `share`.
    share
        This worker's part of the device.
    on_load
        Told the model, and how long it took in seconds.
    on_release
        Told the model.
    timer
        Returns seconds.
    """

    def __init__(
        self,
        make: Callable[[Identity], Adapter],
        limit_bytes: int | None,
        on_load: Callable[[str, float], None],
        on_release: Callable[[str], None],
        timer: Callable[[], float],
        share: float = 1.0,
    ) -> None:
        self._make = make
        self._limit = limit_bytes
        self._share = share
        self._on_load = on_load
        self._on_release = on_release
        self._timer = timer
        self._loaded: OrderedDict[Identity, Resident] = OrderedDict()
        self._measured: dict[Identity, int] = {}

    @property
    def models(self) -> tuple[str, ...]:
        """Ids of loaded models, the one used last first."""
        return tuple(model for resident in reversed(self._loaded.values()) for model in sorted(resident.models))

    @property
    def bytes(self) -> int:
        """Bytes that loaded models take, as measured."""
        return sum(resident.adapter.memory_bytes for resident in self._loaded.values())

    def use(self, job: WorkJob) -> Resident:
        """Return the model of `job`, loaded; makes room for it first.

        Raises
        ------
        GenerationError
            It cannot be loaded; nothing of it is left behind.
        """
        identity = Identity.of(job)
        if (resident := self._loaded.get(identity)) is not None:
            self._loaded.move_to_end(identity)
            resident.models.add(job.model)
            return resident
        started = self._timer()
        adapter = self._make(identity)
        self._make_room(adapter, self._measured.get(identity) or adapter.estimate_bytes())
        if not self._try_load(adapter):
            self.release_others(None)
            if not self._try_load(adapter):
                raise OutOfMemory(f"{identity.generator} does not fit, even alone")
        resident = Resident(adapter, {job.model}, identity.settings.max_batch)
        self._loaded[identity] = resident
        self._measured[identity] = adapter.memory_bytes
        self._on_load(job.model, self._timer() - started)
        self._make_room(adapter, 0)  # it may have turned out larger than was thought
        return resident

    def release(self, resident: Resident) -> None:
        """Unload one model."""
        for identity, other in list(self._loaded.items()):
            if other is resident:
                self._unload(identity)

    def release_others(self, kept: Resident | None) -> bool:
        """Unload all models but `kept`; return whether there were any."""
        others = [identity for identity, resident in self._loaded.items() if resident is not kept]
        for identity in others:
            self._unload(identity)
        return bool(others)

    def _make_room(self, adapter: Adapter, wanted: int) -> None:
        limit = self._limit
        if limit is None:
            if adapter.capacity_bytes is None:
                return
            limit = int(adapter.capacity_bytes * self._share)
        while self._loaded and self.bytes + wanted > limit:
            oldest = next(iter(self._loaded))
            if self._loaded[oldest].adapter is adapter:
                return
            self._unload(oldest)

    def _try_load(self, adapter: Adapter) -> bool:
        """Load and warm up; False if memory does not suffice."""
        try:
            adapter.load()
            adapter.warm_up()
        except OutOfMemory:
            adapter.release()
            return False
        except GenerationError:
            adapter.release()
            raise
        except Exception as error:  # the libraries behind adapters raise whatever they like
            adapter.release()
            raise GenerationError(f"loading failed: {describe_error(error)}") from error
        return True

    def _unload(self, identity: Identity) -> None:
        resident = self._loaded.pop(identity)
        resident.adapter.release()
        for model in sorted(resident.models):
            self._on_release(model)
