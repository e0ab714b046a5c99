"""The fields by which commands and HTTP models are asked."""

from __future__ import annotations

from generation.adapters.base import Request
from pipeline.contracts.generation import GenerationSettings, Scalar


def request_fields(request: Request, settings: GenerationSettings) -> dict[str, Scalar]:
    """Return prompt, seed, size and what the settings say; `settings.extra` last, under its own names."""
    fields: dict[str, Scalar | None] = {
        "prompt": request.text,
        "seed": request.seed,
        "width": settings.width or request.form.width,
        "height": settings.height or request.form.height,
        "steps": settings.steps,
        "guidance": settings.guidance,
        "negative_prompt": settings.negative_prompt,
        "frames": settings.frames,
        "revision": settings.revision,
    }
    return {name: value for name, value in fields.items() if value is not None} | settings.extra
