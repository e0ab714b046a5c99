"""Arenas, models and prompts, and the registry of all that are known.

Arena files are TOML: ``[arena]``, ``[[model]]``, ``[[prompt]]``, with the field names of the types below.
"""

from __future__ import annotations

import tomllib
from typing import Literal

import msgspec

from pipeline.contracts.ballot import K_MAX, K_MIN, MODE_NAMES
from pipeline.contracts.generation import ArtifactFormat, GenerationSettings, GenerationSettingsError
from pipeline.contracts.ids import is_id


class ArenaError(ValueError):
    """An arena, model or prompt is not valid. Says which field and what to do."""


class Model(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """A competitor in an arena."""

    id: str
    name: str | None = None
    organization: str | None = None
    license: str | None = None
    url: str | None = None
    access: Literal["open", "api"] | None = None
    generator: str | None = None
    """What makes its artifacts: ``diffusers:FOLDER_OR_HUB_ID``, ``demo:NAME``, ``http:URL``, ``command:PROGRAM``."""
    generation: GenerationSettings | None = None
    """How it does so; None: as it does by itself."""
    tags: tuple[str, ...] = ()
    retired: bool = False

    def __post_init__(self) -> None:
        _require_id(self.id, "model id")


class Prompt(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """What models are asked for. `seed` fixes the randomness of generation."""

    id: str
    text: str
    seed: int | None = None
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require_id(self.id, "prompt id")


class ArenaSettings(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """Numbers of an arena that its operators may set."""

    open_min: int = 16
    """Fewest matchups kept open."""
    open_max: int = 512
    """Most matchups kept open."""
    lead_seconds: float = 30.0
    """Matchups are kept open for the votes of this many seconds at the last minute's rate."""
    matchup_ttl_seconds: float = 900.0
    """A matchup expires this long after its proposal."""
    policy: str = "gibbs"
    """Matchmaking policy."""
    artifact: ArtifactFormat = ArtifactFormat()
    """Size and quality of the artifacts that voters see."""

    def __post_init__(self) -> None:
        if not 0 <= self.open_min <= self.open_max:
            raise ArenaError(f"open_min {self.open_min} must lie between 0 and open_max {self.open_max}")
        if self.lead_seconds < 0 or self.matchup_ttl_seconds <= 0:
            raise ArenaError("lead_seconds must not be negative and matchup_ttl_seconds must be positive")


class Arena(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """One leaderboard: its task, K, voting modes and settings."""

    id: str
    title: str | None = None
    k: int = 4
    modes: tuple[str, ...] = ("rank", "best")
    require_token: bool = False
    settings: ArenaSettings = ArenaSettings()
    prompts: tuple[Prompt, ...] = ()

    def __post_init__(self) -> None:
        _require_id(self.id, "arena id")
        if not K_MIN <= self.k <= K_MAX:
            raise ArenaError(f"arena {self.id}: k = {self.k} must lie between {K_MIN} and {K_MAX}")
        if unknown := [mode for mode in self.modes if mode not in MODE_NAMES]:
            raise ArenaError(f"arena {self.id}: unknown modes {unknown}; known are {list(MODE_NAMES)}")


class RegisteredArena(msgspec.Struct, frozen=True, kw_only=True):
    """An arena with its models in the order in which they became known: a model's place is its index for ever."""

    arena: Arena
    models: tuple[Model, ...] = ()


class Registry(msgspec.Struct, frozen=True, kw_only=True):
    """All arenas that are known. `closed`: an `arena.upsert` was seen, so unknown arenas and models are refused."""

    closed: bool = False
    arenas: dict[str, RegisteredArena] = {}


class ArenaFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of one arena file."""

    arena: Arena
    model: tuple[Model, ...] = ()
    prompt: tuple[Prompt, ...] = ()


def parse_arena_file(text: str, where: str) -> ArenaFile:
    """Parse the TOML `text` of an arena file; `where` names it in errors. Raises `ArenaError`."""
    try:
        parsed = msgspec.convert(tomllib.loads(text), ArenaFile)
    except tomllib.TOMLDecodeError as error:
        raise ArenaError(f"{where} is not valid TOML: {error}") from None
    except (msgspec.ValidationError, ArenaError) as error:
        # msgspec puts a path behind our own errors, which name the field already.
        ours = error.__cause__ if isinstance(error.__cause__, ArenaError | GenerationSettingsError) else error
        raise ArenaError(f"{where}: {ours}") from None
    repeated = {model.id for model in parsed.model if sum(other.id == model.id for other in parsed.model) > 1}
    if repeated:
        raise ArenaError(f"{where}: models listed more than once: {', '.join(sorted(repeated))}")
    return parsed


def _require_id(text: str, what: str) -> None:
    if not is_id(text):
        raise ArenaError(
            f"{what} {text!r} is not valid: start with a letter or digit, then up to 127 of letters, digits and . _ : -"
        )
