"""One BLAS thread while a fit runs: the bits of a Laplace fit differ between 1 and 2 threads (N = 200).

threadpoolctl's limit holds for the whole process, and its context manager restores what it found at entry: of
two fits that overlap, the first to end would hand the second its threads back in the middle. So the limit is
counted: the first fit sets it, the last one lifts it. This lock and counter are the package's only mutable
module state.

threadpoolctl lets one thread at a time set limits, and passes over the wish of any other without a word. The count
is ours, so the thread that begins or ends takes the right to do so from whoever had it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from threadpoolctl import OpenBLASController, ThreadpoolController  # type: ignore[import-untyped]

_lock = threading.Lock()
_active = 0
_limiter: Any = None


@lru_cache(maxsize=1)
def blas_controller() -> ThreadpoolController:
    """Return threadpoolctl's view of the loaded BLAS libraries, found once (a scan takes milliseconds)."""
    import scipy.linalg.lapack  # noqa: F401, PLC0415 (loads SciPy's BLAS, so that it is found)

    return ThreadpoolController().select(user_api="blas")


@contextmanager
def single_blas_thread() -> Iterator[None]:
    """Hold all BLAS libraries of the process at one thread; may overlap between threads."""
    global _active, _limiter  # noqa: PLW0603 (see the module docstring)
    controller = blas_controller()
    with _lock:
        if _active == 0:
            OpenBLASController.clear_controlling_thread(force=True)
            _limiter = controller.limit(limits=1)
        _active += 1
    try:
        yield
    finally:
        with _lock:
            _active -= 1
            if _active == 0:
                OpenBLASController.clear_controlling_thread(force=True)
                _limiter.restore_original_limits()
                _limiter = None
