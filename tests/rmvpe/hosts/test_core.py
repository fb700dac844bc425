"""Thresholds on a host's scale, and audio as hosts hand it."""

import math
from typing import Any

import numpy as np
import pytest

import rmvpe
from rmvpe.hosts.core import Family, Host, mono, scaled_threshold
from tests.helpers.hosts import FRAMEWORKS, voice

needs_runtime = pytest.mark.skipif(not FRAMEWORKS, reason="no runtime is installed")


@pytest.mark.parametrize(
    ("threshold", "confidence"), [(0.05, 0.61), (0.1, 0.768), (0.5, 0.967), (0.01, 0.231), (0.0, 0.0), (1.0, 1.0)]
)
def test_a_threshold_moves_on_the_logit_scale(threshold: float, confidence: float):
    assert scaled_threshold(threshold, 0.05, 0.61) == pytest.approx(confidence, abs=5e-4)


def test_the_default_is_the_weights_own_to_the_bit_and_order_is_kept():
    assert scaled_threshold(0.03, 0.03, 0.61) == 0.61
    values = [scaled_threshold(threshold, 0.03, 0.61) for threshold in np.linspace(-0.1, 1.1, 121)]
    assert values == sorted(values)
    assert (values[0], values[-1]) == (0.0, 1.0)
    assert scaled_threshold(0.2, 0.03, 1.0) == 0.2  # weights whose threshold has no logit


@needs_runtime
def test_scales():
    family = Family(0.03, "zero")
    ours = Host(family, weights="small", device="cpu")
    own = Host(family, weights="small", device="cpu", threshold_scale="own")
    assert [host.config().threshold for host in (ours, own)] == [0.61, 0.61]
    assert [host.config(0.03).threshold for host in (ours, own)] == [0.61, 0.03]
    assert own.config(np.float32(0.5)).threshold == 0.5
    with pytest.raises(rmvpe.UserError, match="unknown threshold_scale 'raw': choose host or own"):
        Host(family, weights="small", device="cpu", threshold_scale="raw")


@needs_runtime
@pytest.mark.parametrize("threshold", [math.nan, "high", [0.1, 0.2]])
def test_what_is_no_threshold_is_refused(threshold: Any):
    with pytest.raises(rmvpe.UserError, match=r"the voicing threshold .* is not a number: give one from 0 to 1"):
        rmvpe.RMVPE(weights="small", device="cpu").infer_from_audio(voice(), threshold)


def test_audio_may_have_an_axis_for_one_channel():
    for shape in ((1, 5), (5, 1), (5,), (1, 1, 5)):
        np.testing.assert_array_equal(mono(np.arange(5.0).reshape(shape)), np.arange(5.0))
    assert mono(np.zeros((1, 0))).shape == mono([]).shape == (0,)


@pytest.mark.parametrize("audio", [np.zeros((2, 800)), np.zeros((800, 2)), np.float32(0.5)])
def test_more_than_one_recording_is_refused(audio: Any):
    with pytest.raises(rmvpe.UserError, match=r"audio must be one recording \[samples\], not of shape"):
        mono(audio)


@needs_runtime
def test_samples_that_are_no_numbers_are_refused():
    with pytest.raises(rmvpe.UserError, match="nan"):
        rmvpe.RMVPE(weights="small", device="cpu").infer_from_audio(np.full(1000, np.nan))
