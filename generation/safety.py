"""The hook for checkers: a function that says why a picture must not be shown."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol

from generation.errors import WorkerSettingsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Checker(Protocol):
    """Called with each artifact, from several threads."""

    def __call__(self, pixels: NDArray[np.uint8], prompt: str) -> str | None:
        """Return why `pixels`, uint8 (frames, height, width, 3), must not be shown; None if they may be."""
        ...


def load_checker(name: str) -> Checker:
    """Import the checker that ``module:function`` names.

    Raises
    ------
    WorkerSettingsError
        There is no such function.
    """
    module, _, function = name.partition(":")
    try:
        checker: Checker = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise WorkerSettingsError(f"--checker {name}: {error}; name it as module:function") from None
    if not callable(checker):
        raise WorkerSettingsError(f"--checker {name} is not a function")
    return checker
