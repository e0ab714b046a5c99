"""Finds the adapter for a generator string. Adapters are imported when a model first needs them: torch is heavy."""

from __future__ import annotations

import importlib
from typing import Final

from generation.adapters.base import Adapter, Surroundings
from generation.errors import ModelUnavailable, describe_error
from pipeline.contracts.generation import GenerationSettings

ADAPTERS: Final[dict[str, tuple[str, str]]] = {
    "demo": ("generation.adapters.demo", "DemoAdapter"),
    "diffusers": ("generation.adapters.diffusers_pipeline", "DiffusersAdapter"),
    "http": ("generation.adapters.http_api", "HttpAdapter"),
    "https": ("generation.adapters.http_api", "HttpAdapter"),
    "command": ("generation.adapters.command", "CommandAdapter"),
}
"""What stands before the first colon -> module and class."""


def make_adapter(generator: str | None, settings: GenerationSettings, surroundings: Surroundings) -> Adapter:
    """Return the adapter, not loaded yet.

    Raises
    ------
    ModelUnavailable
        The model names no generator, one that this version does not know, or one whose packages are missing here.
    """
    scheme, colon, source = (generator or "").partition(":")
    if not generator or not colon or scheme not in ADAPTERS:
        known = ", ".join(f"{name}:" for name in ADAPTERS)
        raise ModelUnavailable(f"the generator {generator!r} is unknown; it starts with one of {known}")
    module, name = ADAPTERS[scheme]
    try:
        adapter: type[Adapter] = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise ModelUnavailable(
            f"{scheme}: models need the package {error.name}: pip install 'kwise-arena[generation]'"
        ) from None
    except ImportError as error:  # installed, and broken
        raise ModelUnavailable(f"{scheme}: models cannot be made here: {describe_error(error)}") from error
    # The scheme of an http URL is part of the address.
    return adapter(generator if source.startswith("//") else source, settings, surroundings)
