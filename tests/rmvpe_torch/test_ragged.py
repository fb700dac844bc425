"""Filler in a batch of torch, as an accelerator computes it: hidden from every convolution, whatever it is."""

import numpy as np
import pytest
import torch

import rmvpe
from rmvpe_torch.infer import Backend
from rmvpe_torch.ragged import Filler

LENGTHS = [32, 96, 64]


@pytest.fixture(scope="module")
def network() -> Backend:
    backend = rmvpe.load("small", "torch", "cpu").backend
    assert isinstance(backend, Backend)
    return backend


def clips() -> torch.Tensor:
    """Log-mel [3, 96, 128] whose filler is loud noise."""
    rng = np.random.default_rng(0)
    rows = rng.normal(-5.0, 2.0, (3, 96, 128))
    for row, length in zip(rows, LENGTHS):
        row[length:] = rng.uniform(-50.0, 90.0, row[length:].shape)
    return torch.from_numpy(rows.astype(np.float32))


@torch.inference_mode()
def test_noise_as_filler_changes_nothing_beyond_rounding(network: Backend):
    log_mel = clips()
    together, seen = network._features(log_mel, LENGTHS), network._features(log_mel, None)
    for row, unprotected, clip, length in zip(together, seen, log_mel, LENGTHS):
        alone = network._features(clip[None, :length], None)[0]
        np.testing.assert_allclose(row[:length], alone, rtol=0, atol=2e-5)
        assert length == 96 or (unprotected[:length] - alone).abs().max() > 0.1  # without the protection it would


def test_outside_the_block_nothing_is_hidden():
    conv = torch.nn.Conv2d(1, 1, 3, padding=1)
    filler = Filler(conv)
    image = torch.ones(1, 1, 4, 3)
    with torch.inference_mode():
        plain = conv(image)
        with filler.hidden([2], 4):
            hidden = conv(image)
        np.testing.assert_array_equal(conv(image), plain)
        cut = image.clone()
        cut[:, :, 2:] = 0.0
        np.testing.assert_array_equal(hidden, conv(cut))
