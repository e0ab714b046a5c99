"""The portable exp and normal ratio against SciPy, and known bits that no machine may change."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import erfcx

from pipeline.rating.scalar_kernels import exp_negative, expected_score, normal_ratio, variance_ratio


@given(st.floats(0, 699))
def test_exp_negative_agrees_with_libm(t: float) -> None:
    assert exp_negative(t) == pytest.approx(math.exp(-t), rel=5e-16, abs=0)


def test_exp_negative_ends_at_zero() -> None:
    assert exp_negative(0.0) == 1.0
    assert exp_negative(700.0) == exp_negative(math.inf) == 0.0


@given(st.floats(-1e8, 5))
def test_normal_ratio_agrees_with_scipy(x: float) -> None:
    if x < 0:
        expected = math.sqrt(2 / math.pi) / float(erfcx(-x / math.sqrt(2)))
    else:
        expected = math.exp(-x * x / 2) / math.sqrt(2 * math.pi) / (0.5 * math.erfc(-x / math.sqrt(2)))
    assert normal_ratio(x) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("x", [5.0, 8.0, 20.0, 30.0])
def test_normal_ratio_of_large_arguments_is_the_density(x: float) -> None:
    assert normal_ratio(x) == pytest.approx(math.exp(-x * x / 2) / math.sqrt(2 * math.pi), rel=1e-6)


@given(st.floats(-1e150, 1e150))
def test_ratios_are_finite_and_in_range(x: float) -> None:
    v = normal_ratio(x)
    assert v >= max(0.0, -x * (1 - 1e-15))
    assert math.isfinite(v)
    assert 0.0 <= variance_ratio(x, v) <= 1.0


@given(st.floats(-30, 5))
def test_variance_ratio_is_minus_the_derivative_of_the_normal_ratio(x: float) -> None:
    h = 1e-4
    slope = (normal_ratio(x + h) - normal_ratio(x - h)) / (2 * h)
    assert variance_ratio(x, normal_ratio(x)) == pytest.approx(-slope, abs=1e-7)


def test_variance_ratio_is_continuous_where_its_series_begins() -> None:
    inside, outside = -100.0, np.nextafter(-100.0, -np.inf)
    series = variance_ratio(outside, normal_ratio(outside))
    assert series == pytest.approx(variance_ratio(inside, normal_ratio(inside)), abs=1e-11)


def test_expected_score_is_elo() -> None:
    assert expected_score(400.0) == pytest.approx(10 / 11, rel=1e-15)
    assert expected_score(0.0) == 0.5
    assert expected_score(-123.0) == pytest.approx(1 - expected_score(123.0), rel=1e-15)
    assert expected_score(1e9) == 1.0
    assert expected_score(-1e9) == 0.0


def test_kernels_give_known_bits() -> None:
    # Written down once; a machine, compiler or library that changes one of them breaks "bit for bit everywhere".
    found = [
        exp_negative(0.3),
        exp_negative(41.7),
        normal_ratio(-7.5),
        normal_ratio(-1.25),
        normal_ratio(0.4),
        normal_ratio(2.75),
        expected_score(137.0),
    ]
    assert [value.hex() for value in found] == [
        "0x1.7b4c869c37c05p-1",
        "0x1.ca2191e64790cp-61",
        "0x1.e840fc4004b98p+2",
        "0x1.ba93b9fb2afb4p+0",
        "0x1.1faf16f9fdf51p-1",
        "0x1.2ade505331525p-7",
        "0x1.60050365a46c4p-1",
    ]
