"""Fixtures of the tests of generation."""

from __future__ import annotations

import pytest

from generation.adapters import registry
from tests.generation import fakes


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> fakes.FakeDevice:
    """A fresh fake device, and the fake adapter registered as ``fake:``."""
    fresh = fakes.FakeDevice()
    monkeypatch.setattr(fakes.FakeAdapter, "device", fresh)
    monkeypatch.setitem(registry.ADAPTERS, "fake", (fakes.__name__, "FakeAdapter"))
    return fresh
