"""Decode settings for tests that decode a salience without an estimator."""

from typing import Any

from rmvpe.config import USUAL, DecodeConfig


def decoding(*fields: Any, **named: Any) -> DecodeConfig:
    """A `DecodeConfig` whose threshold and calibration are those of weights that recommend none."""
    return DecodeConfig(*fields, **named).resolved(USUAL)
