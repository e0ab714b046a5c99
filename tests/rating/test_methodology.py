"""Version and fingerprint."""

from __future__ import annotations

import numba
import numpy as np
import scipy

from pipeline.rating.methodology import CHANGES, METHODOLOGY, numerics_fingerprint


def test_methodology_is_the_newest_change() -> None:
    assert CHANGES[0][0] == METHODOLOGY
    assert [int(version) for version, _ in CHANGES] == list(range(len(CHANGES), 0, -1))


def test_fingerprint_names_versions_and_kernels() -> None:
    found = numerics_fingerprint()
    for part in (np.__version__, scipy.__version__, numba.__version__, "openblas"):
        assert part in found
    assert numerics_fingerprint() == found
