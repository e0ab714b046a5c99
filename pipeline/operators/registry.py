"""The registry of arenas and models while the job runs: what control events and first votes make of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from pipeline.contracts.arena import Arena, Model, RegisteredArena, Registry
from pipeline.contracts.control import ControlEvent, ControlFault, model_id_of
from pipeline.contracts.reasons import Reason


@dataclass(slots=True)
class LiveArena:
    """One arena. A model's place in `models` is its index in counts and filters for ever."""

    arena: Arena
    models: list[Model] = field(default_factory=list)
    index: dict[str, int] = field(default_factory=dict)

    @property
    def pool(self) -> frozenset[str]:
        """Ids of the arena's prompts."""
        return frozenset(prompt.id for prompt in self.arena.prompts)

    def add(self, model: Model) -> None:
        """Add a model at the end, or replace what is known of it at its place."""
        if (place := self.index.get(model.id)) is not None:
            self.models[place] = model
            return
        self.index[model.id] = len(self.models)
        self.models.append(model)

    def freeze(self) -> RegisteredArena:
        """Return the arena as published."""
        return RegisteredArena(arena=self.arena, models=tuple(self.models))


class LiveRegistry:
    """All arenas of one owner. Open until the first `arena.upsert`: unknown arenas and models register themselves."""

    def __init__(self, registry: Registry | None = None) -> None:
        registry = registry or Registry()
        self.closed = registry.closed
        self.arenas: dict[str, LiveArena] = {}
        for arena_id, registered in registry.arenas.items():
            live = LiveArena(registered.arena)
            for model in registered.models:
                live.add(model)
            self.arenas[arena_id] = live

    def freeze(self) -> Registry:
        """Return the registry as stored and published."""
        return Registry(closed=self.closed, arenas={key: live.freeze() for key, live in self.arenas.items()})

    def admit(self, arena_id: str, model_id: str) -> bool:
        """Register an arena and a model that an accepted vote named; return whether one of them was new."""
        if (live := self.arenas.get(arena_id)) is None:
            live = self.arenas[arena_id] = LiveArena(Arena(id=arena_id))
        if model_id in live.index:
            return False
        live.add(Model(id=model_id))
        return True

    def apply(self, event: ControlEvent) -> None:
        """Apply an `arena.*` or `model.*` event. Raises `ControlFault` for an unknown arena or model."""
        if event.type == "arena.upsert":
            arena = event.to_arena()
            self.closed = True
            if (live := self.arenas.get(arena.id)) is not None:
                live.arena = arena
            else:
                self.arenas[arena.id] = LiveArena(arena)
            return
        live = self.require_arena(event)
        if event.type == "model.add":
            assert isinstance(event.model, Model)  # checked when it was decoded
            live.add(event.model)
        elif event.type == "model.retire":
            model_id = model_id_of(event)
            if (place := live.index.get(model_id)) is None:
                raise ControlFault(Reason.UNKNOWN_MODEL, f"arena {event.arena} has no model {model_id}")
            live.models[place] = msgspec.structs.replace(live.models[place], retired=True)

    def require_arena(self, event: ControlEvent) -> LiveArena:
        """Return the arena that `event` names. Raises `ControlFault` if it is not known."""
        live = self.arenas.get(event.arena or "")
        if live is None:
            raise ControlFault(Reason.UNKNOWN_ARENA, f"no arena {event.arena}; apply its arena file first")
        return live
