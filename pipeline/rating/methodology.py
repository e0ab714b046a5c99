"""The version of the methods, and the fingerprint of the numerics that ran them; both stored in each snapshot.

A change that moves any published number bumps `METHODOLOGY`, gets an entry in `CHANGES` and an entry marked
**changes ratings** in CHANGELOG.md that says how to replay (usually ``kwise replay --from STORE/archive/
--store NEW``).

`posterior` is the same bit for bit where two fingerprints are equal, and to 1e-9 where they differ; the other
methods do not depend on it.
"""

from __future__ import annotations

import platform
from functools import lru_cache
from typing import Final

import numba
import numpy as np
import scipy

from pipeline.rating.blas_threads import blas_controller

METHODOLOGY: Final = "2"

# Newest first: (version, what changed and how to replay).
CHANGES: Final[tuple[tuple[str, str], ...]] = (
    (
        "2",
        "Rank intervals hold 95.5 % on average over a board (they held 95 % or more each, and covered 98 to 99 %); rank"
        " groups, P(best); the method average. Means and sds of posterior move by rounding only, those of the others"
        " not at all. Replay the archive into a new store: kwise replay --from STORE/archive/ --store NEW.",
    ),
    (
        "1",
        "First version: ksort (eqs 9-10, variance factor at least b^2/(b^2 + s^2)), posterior (Davidson ties, prior"
        " scale by evidence on 0.5 ... 128, centred moments), elo (K 4, all pairs of a ballot at once), win_rate"
        " (Wilson).",
    ),
)


@lru_cache(maxsize=1)
def numerics_fingerprint() -> str:
    """Return what the bits of `posterior` depend on: library versions, BLAS kernels, C library, processor family."""
    kernels = sorted(
        f"{info['internal_api']} {info.get('version')} {info.get('architecture', '')}".strip()
        for info in blas_controller().info()
    )
    libc = " ".join(platform.libc_ver())
    parts = [f"numpy {np.__version__}", f"scipy {scipy.__version__}", f"numba {numba.__version__}", *kernels]
    return "; ".join([*parts, libc, platform.machine()])
