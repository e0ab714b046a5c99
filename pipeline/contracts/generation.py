"""How a model makes artifacts, and what a worker and the gateway say to each other about it (docs/generation.md).

An *artifact* is what a model made for (prompt, seed). A *recipe* is everything that decides its content; its hash is
the key under which an artifact is found again, so that nothing is made twice.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final, Literal

import msgspec

DTYPES: Final = ("bfloat16", "float16", "float32")
MAX_PROMPT_CHARACTERS: Final = 2_000
"""A longer prompt is refused by every worker."""

RECIPE_VERSION: Final = 1
"""Goes up when the same recipe would give other bytes: a new encoder, a new way to fit pictures to one size."""

_MAX_SIDE: Final = 4_096
_MAX_FRAMES: Final = 512
_CALL_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
# Set by the worker itself, or able to make a pipeline do something else than draw.
_RESERVED: Final = frozenset(
    {"prompt", "generator", "latents", "output_type", "return_dict", "callback_on_step_end", "num_images_per_prompt"}
)

Scalar = bool | int | float | str


class GenerationSettingsError(ValueError):
    """How a model or an arena is to be generated is not valid. Says which field and what to do."""


def _check_range(name: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not low <= value <= high:
        raise GenerationSettingsError(f"{name} = {value} must lie between {low} and {high}")


class GenerationSettings(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """How a model makes artifacts: ``[model.generation]`` in arena files. All of it is part of the model's identity."""

    revision: str | None = None
    """Of weights on a hub: a commit, tag or branch. For others: any text; a new one makes artifacts anew."""
    dtype: Literal["bfloat16", "float16", "float32"] | None = None
    """Of the weights. None: bfloat16 on a GPU, float32 on a CPU."""
    variant: str | None = None
    """Which files of a folder of weights, such as ``fp16``."""
    steps: int | None = None
    """Inference steps."""
    guidance: float | None = None
    """Guidance scale."""
    negative_prompt: str | None = None
    width: int | None = None
    """Pixels that the model itself makes; the artifact gets the arena's size."""
    height: int | None = None
    frames: int | None = None
    """Frames of a clip; None: a picture."""
    frames_per_second: float = 8.0
    """Of a clip."""
    max_batch: int | None = None
    """Most pictures made at once. None: as many as a lease brings."""
    offload: Literal["model", "sequential"] | None = None
    """Keep weights in main memory and bring them to the GPU when they are needed."""
    compile: bool = False
    """Compile the denoiser: a slower start, faster pictures."""
    timeout_seconds: float = 300.0
    """Of one artifact, for models behind HTTP and commands."""
    budget_per_day: int | None = None
    """Most calls a UTC day, for models that cost money."""
    extra: dict[str, Scalar] = {}
    """Further arguments of the pipeline or fields of the request, by name."""

    def __post_init__(self) -> None:
        _check_range("generation.steps", self.steps, 1, 1_000)
        _check_range("generation.guidance", self.guidance, 0, 100)
        _check_range("generation.width", self.width, 16, _MAX_SIDE)
        _check_range("generation.height", self.height, 16, _MAX_SIDE)
        _check_range("generation.frames", self.frames, 2, _MAX_FRAMES)
        _check_range("generation.frames_per_second", self.frames_per_second, 1, 60)
        _check_range("generation.max_batch", self.max_batch, 1, 64)
        _check_range("generation.timeout_seconds", self.timeout_seconds, 1, 3_600)
        _check_range("generation.budget_per_day", self.budget_per_day, 0, 10_000_000)
        for name in self.extra:
            if not _CALL_NAME.fullmatch(name) or name in _RESERVED:
                raise GenerationSettingsError(
                    f"generation.extra has {name!r}, which is not an argument that a model may set"
                )


class ArtifactFormat(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """The one form that all artifacts of an arena have, so that none betrays its model."""

    width: int = 512
    height: int = 512
    quality: int = 90
    """Of the lossy encoder, 1 to 100."""
    max_seconds: float = 10.0
    """Clips are cut to this."""

    def __post_init__(self) -> None:
        _check_range("artifact.width", self.width, 16, _MAX_SIDE)
        _check_range("artifact.height", self.height, 16, _MAX_SIDE)
        _check_range("artifact.quality", self.quality, 1, 100)
        _check_range("artifact.max_seconds", self.max_seconds, 0.1, 60)


class WorkPrompt(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What is to be made. An arena without prompts has matchups without a text, of which nothing can be made."""

    id: str
    text: str | None = None
    seed: int | None = None
    tags: tuple[str, ...] = ()


class WorkJob(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One artifact to be made, leased to a worker under a fencing number."""

    job_id: str
    fence: int
    arena: str
    model: str
    generator: str | None = None
    revision: str | None = None
    """Stands in where `generation` has none."""
    generation: GenerationSettings | None = None
    format: ArtifactFormat = ArtifactFormat()
    prompt: WorkPrompt
    attempt: int = 1

    @property
    def settings(self) -> GenerationSettings:
        """How the model makes this artifact, with its revision."""
        settings = self.generation or GenerationSettings()
        if settings.revision is None and self.revision is not None:
            return msgspec.structs.replace(settings, revision=self.revision)
        return settings


class Lease(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Jobs of one model, for `lease_seconds` unless a heartbeat comes; none: ask again after `wait_s`."""

    jobs: tuple[WorkJob, ...] = ()
    lease_seconds: float = 60.0
    wait_s: float = 0.0


def seed_of(prompt: WorkPrompt) -> int:
    """Return the seed of a prompt; one without gets one from its text, so that it stays the same."""
    if prompt.seed is not None:
        return prompt.seed & 0x7FFF_FFFF_FFFF_FFFF
    return int.from_bytes(sha256((prompt.text or "").encode()).digest()[:4], "big")


def hash_recipe(job: WorkJob) -> str:
    """Return the hex SHA-256 of all that decides the artifact of `job`. Arena, prompt id and model id do not."""
    # What changes how long it takes, and not what comes out, is left out.
    timeout = GenerationSettings().timeout_seconds
    settings = msgspec.structs.replace(
        job.settings, max_batch=None, offload=None, timeout_seconds=timeout, budget_per_day=None
    )
    content = [RECIPE_VERSION, job.generator, settings, job.format, job.prompt.text, seed_of(job.prompt)]
    return sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()
