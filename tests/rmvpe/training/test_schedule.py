"""The learning rate follows its schedules."""

import dataclasses
from itertools import pairwise

import pytest

from rmvpe.config import TrainConfig
from rmvpe.training.schedule import learning_rate


def test_step_schedule_is_the_references():
    config = TrainConfig()
    assert learning_rate(0, config) == 5e-4
    assert learning_rate(1999, config) == 5e-4
    assert learning_rate(2000, config) == pytest.approx(5e-4 * 0.98)
    assert learning_rate(20000, config) == pytest.approx(5e-4 * 0.98**10)


def test_cosine_warms_up_and_ends_at_zero():
    config = dataclasses.replace(TrainConfig(), schedule="cosine", iterations=1000, warmup_steps=100)
    assert learning_rate(0, config) == pytest.approx(5e-6)
    assert learning_rate(500, config) == pytest.approx(2.5e-4)
    assert learning_rate(1000, config) == pytest.approx(0.0)
    rates = [learning_rate(step, config) for step in range(100, 1001)]
    assert all(earlier >= later for earlier, later in pairwise(rates))


def test_hold_stays_at_its_rate_and_falls_to_zero_in_the_end():
    config = dataclasses.replace(TrainConfig(), schedule="hold", iterations=1000, warmup_steps=100)
    assert learning_rate(49, config) == pytest.approx(2.5e-4)
    assert {learning_rate(step, config) for step in (100, 400, 700)} == {5e-4}
    assert learning_rate(850, config) == pytest.approx(2.5e-4)
    assert learning_rate(1000, config) == pytest.approx(0.0)
    longer = dataclasses.replace(config, iterations=2000)
    assert all(learning_rate(step, config) == learning_rate(step, longer) for step in range(700))
