"""One system that the tests of the gateway share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.gateway.systems import System, running_system


@pytest.fixture(scope="package")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system that runs as long as these tests, and no longer: others put things into the way of any job.

    Leave it as it was, but for matchups and votes.
    """
    with running_system(tmp_path_factory.mktemp("gateway"), refuse="forbidden") as running:
        yield running
