"""Cholesky factor, solve and inverse by LAPACK, in place and without Python's lock.

SciPy's own wrappers hold the lock while they run: the inverse of 2,000 models would stop the thread that takes votes
for a quarter of a second. Its Cython interface (scipy.linalg.cython_lapack) hands out the routines themselves, and a
call through ctypes releases the lock. NumPy releases it too, but has no inverse from a factor and copies its operands.

Matrices are symmetric float64 in C order, of which the upper triangle is read and written; to LAPACK, which counts by
columns, it is the lower one. Calls are exact to the bit within one numerics fingerprint (module `methodology`).
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numba.extending import get_cython_function_address
from numpy.typing import NDArray

_LOWER: Final = ctypes.byref(ctypes.c_char(b"L"))
_POINTERS: Final = {"dpotrf": 5, "dpotri": 5, "dpotrs": 8}


class NotPositiveDefiniteError(Exception):
    """The matrix has no Cholesky factor."""


def factorise(matrix: NDArray[np.float64]) -> None:
    """Replace the upper triangle of `matrix` (n, n) by U with U'U = matrix.

    Raises
    ------
    NotPositiveDefiniteError
    """
    size = _size(matrix)
    _call("dpotrf", size, _pointer(matrix), size)


def invert_factor(factor: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn a factor (n, n) made by `factorise` into the whole inverse of its matrix, in place, and return it."""
    size = _size(factor)
    _call("dpotri", size, _pointer(factor), size)
    _mirror(factor)
    return factor


def solve_factor(factor: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return x (n,) with matrix x = right (n,), given the factor of the matrix."""
    size, one = _size(factor), ctypes.byref(ctypes.c_int(1))
    x = right.copy()
    _call("dpotrs", size, one, _pointer(factor), size, _pointer(x), size)
    return x


@lru_cache(maxsize=3)
def _routine(name: str) -> Any:
    address = get_cython_function_address("scipy.linalg.cython_lapack", name)
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * _POINTERS[name])(address)


def _call(name: str, *arguments: Any) -> None:
    info = ctypes.c_int(0)
    _routine(name)(_LOWER, *arguments, ctypes.byref(info))
    if info.value > 0:
        raise NotPositiveDefiniteError(f"{name}: the leading minor of order {info.value} is not positive definite")
    if info.value < 0:
        raise ValueError(f"{name}: argument {-info.value} is wrong")


def _size(matrix: NDArray[np.float64]) -> Any:
    if matrix.dtype != np.float64 or not matrix.flags.c_contiguous or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"LAPACK works on square float64 matrices in C order, not {matrix.dtype} {matrix.shape}")
    return ctypes.byref(ctypes.c_int(len(matrix)))


def _pointer(array: NDArray[np.float64]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _mirror(matrix: NDArray[np.float64], block: int = 256) -> None:
    """Copy the upper triangle of `matrix` to the lower one, by blocks that fit the cache."""
    n = len(matrix)
    for low in range(0, n, block):
        high = min(low + block, n)
        corner = matrix[low:high, low:high]
        corner[:] = np.triu(corner) + np.triu(corner, 1).T
        matrix[high:, low:high] = matrix[low:high, high:].T
