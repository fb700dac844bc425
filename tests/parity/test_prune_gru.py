"""Saturated GRU units: found by their update gate, and pruned without a change of the results."""

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rmvpe_jax.infer
import rmvpe_ort.infer
import rmvpe_torch.infer
from rmvpe.backends import Network
from rmvpe.checkpoint.prune_gru import DIRECTIONS, GRU, UnitStatistics, measure_units, prune
from rmvpe.checkpoint.store import Checkpoint, load, save
from rmvpe.chunked_gru import salience
from rmvpe.config import ModelConfig
from rmvpe.data.readers.hybrid import write_hybrid_pair
from rmvpe.errors import UserError
from rmvpe_torch.checkpoint import load_model
from tests.helpers import golden
from tests.helpers.paths import ROOT

BACKENDS: dict[str, Any] = {
    "torch": rmvpe_torch.infer.Backend,
    "jax": rmvpe_jax.infer.Backend,
    "onnx": rmvpe_ort.infer.Backend,
}
CONFIG = dataclasses.replace(ModelConfig.small(), channels=2, gru_hidden=16)
SHUT, CONSTANT = 3, 7  # units: one that keeps its first state, one with the same output for any input
GATE = {"reset": 0, "update": 1, "new": 2}


def with_still_units() -> Checkpoint:
    """Random weights with such units in both directions."""
    checkpoint = golden.checkpoint(CONFIG, seed=5)
    tensors = {name: tensor.copy() for name, tensor in checkpoint.tensors.items()}

    def rows(unit: int, gate: str) -> int:
        return unit + GATE[gate] * CONFIG.gru_hidden

    for name in DIRECTIONS:
        tensors[f"{GRU}.bias_ih{name}"][rows(SHUT, "update")] = 30.0
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            for gate in GATE:
                tensors[f"{GRU}.{kind}{name}"][rows(CONSTANT, gate)] = 0.0
        tensors[f"{GRU}.bias_ih{name}"][rows(CONSTANT, "new")] = 0.6
        tensors[f"{GRU}.bias_ih{name}"][rows(CONSTANT, "update")] = -30.0
    return dataclasses.replace(checkpoint, tensors=tensors)


def spectrogram() -> np.ndarray:
    return np.random.default_rng(0).normal(-6.0, 3.0, (320, 128)).astype(np.float32)


def still(network: Network, checkpoint: Checkpoint) -> tuple[UnitStatistics, np.ndarray]:
    """The statistics of the units, and the mask of the two in both directions."""
    mask = np.zeros((2, CONFIG.gru_hidden), bool)
    mask[:, [SHUT, CONSTANT]] = True
    return measure_units(network, checkpoint, [spectrogram(), spectrogram()[:96]]), mask


@pytest.mark.parametrize("framework", BACKENDS)
def test_a_saturated_gate_is_found(framework: str):
    checkpoint = with_still_units()
    units, _ = still(BACKENDS[framework](checkpoint, "cpu"), checkpoint)
    assert (units.memory_frames[:, SHUT] > 1e6).all()
    assert (np.delete(units.memory_frames, SHUT, axis=1) < 1000).all()
    np.testing.assert_allclose(units.mean[:, SHUT], 0.0, atol=1e-6)
    np.testing.assert_allclose(units.mean[:, CONSTANT], np.tanh(0.6), rtol=1e-5)


@pytest.mark.parametrize("framework", BACKENDS)
def test_how_long_a_unit_remembers(framework: str):
    """Of unit 0, whose gate is the same at every frame: z = sigmoid(2) leaves 1/e after -1 / log z frames."""
    checkpoint = with_still_units()
    for name in DIRECTIONS:
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            checkpoint.tensors[f"{GRU}.{kind}{name}"][CONFIG.gru_hidden] = 0.0
        checkpoint.tensors[f"{GRU}.bias_ih{name}"][CONFIG.gru_hidden] = 2.0
    units, _ = still(BACKENDS[framework](checkpoint, "cpu"), checkpoint)
    np.testing.assert_allclose(units.memory_frames[:, 0], 1 / np.log1p(np.exp(-2.0)), rtol=1e-5)


@pytest.mark.parametrize("framework", BACKENDS)
def test_pruning_does_not_change_the_salience(framework: str):
    checkpoint = with_still_units()
    before = BACKENDS[framework](checkpoint, "cpu")
    pruned = prune(checkpoint, *still(before, checkpoint))
    after = BACKENDS[framework](pruned, "cpu")
    log_mel = spectrogram()[None]
    found, expected = salience(after, log_mel), salience(before, log_mel)
    # Not at the ends, where the constant unit is 0 for one frame
    np.testing.assert_allclose(found[:, 50:-50], expected[:, 50:-50], rtol=0, atol=1e-5)
    states = after.gru(after.features(log_mel)[0], None, 0, reverse=True)
    assert not states[:, [SHUT, CONSTANT]].any()
    assert np.abs(np.delete(states, [SHUT, CONSTANT], axis=1)).max() > 0.1


def test_more_training_does_not_change_them():
    checkpoint = with_still_units()
    pruned = prune(checkpoint, *still(BACKENDS["torch"](checkpoint, "cpu"), checkpoint))
    model = load_model(pruned).train()
    model(torch.from_numpy(spectrogram()[None])).square().mean().backward()
    fc: Any = model.fc
    gru, output = fc[0].gru, fc[1]
    for unit in (SHUT, CONSTANT):
        for parameter in gru.parameters():
            rows = unit + CONFIG.gru_hidden * np.arange(3)
            assert not parameter.grad[rows].any()
        assert not gru.weight_hh_l0.grad[:, unit].any()
        assert not output.weight.grad[:, [unit, unit + CONFIG.gru_hidden]].any()
    assert gru.weight_hh_l0.grad.any()


def test_what_cannot_be_measured():
    deep = golden.checkpoint(dataclasses.replace(CONFIG, gru_layers=2), seed=5)
    with pytest.raises(UserError, match="2 GRU layers"):
        measure_units(BACKENDS["torch"](deep, "cpu"), deep, [spectrogram()])
    checkpoint = with_still_units()
    with pytest.raises(UserError, match="give at least one"):
        measure_units(BACKENDS["torch"](checkpoint, "cpu"), checkpoint, [])


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "scripts" / "prune_gru.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def test_the_script(tmp_path: Path):
    (tmp_path / "valid").mkdir()
    rng = np.random.default_rng(0)
    for name, n, music in (("a", 32000, True), ("b", 32000, False), ("short", 3200, True)):
        accompaniment = 0.1 * rng.standard_normal(n) if music else None
        write_hybrid_pair(
            tmp_path / "valid", name, 0.1 * rng.standard_normal(n), accompaniment, np.full(n // 160 + 1, 220.0)
        )
    still = with_still_units()
    foreign = still.metadata | {"threshold": "0.77", "calibration": "3,1", "seed": "5"}
    save(tmp_path / "in.safetensors", dataclasses.replace(still, metadata=foreign))
    data = ("--data", tmp_path)
    done = run(tmp_path / "in.safetensors", *data, "--out", tmp_path / "out.safetensors", "--longest", "100")
    assert done.returncode == 0, done.stderr
    assert "1 units pruned forward, 1 backward" in done.stdout
    assert "no voicing threshold" in done.stdout  # all frames of these files are voiced
    written = load(tmp_path / "out.safetensors")
    assert (written.threshold, written.calibration, written.metadata["seed"]) == (None, None, "5")
    pruned = written.tensors
    for name in DIRECTIONS:
        assert not pruned[f"{GRU}.weight_ih{name}"][SHUT].any()
        assert pruned[f"{GRU}.weight_ih{name}"][SHUT + 1].any()
    (tmp_path / "voices" / "valid").mkdir(parents=True)
    write_hybrid_pair(tmp_path / "voices" / "valid", "a", 0.1 * rng.standard_normal(32000), None, np.full(201, 220.0))
    for arguments in (
        (tmp_path / "in.safetensors", *data, "--out", tmp_path / "out.pt"),
        (tmp_path / "in.safetensors", *data, "--out", tmp_path / "out2.safetensors", "--longest", "0"),
        (tmp_path / "in.safetensors", "--data", tmp_path / "voices", "--out", tmp_path / "out2.safetensors"),
        (tmp_path / "in.safetensors", "--data", tmp_path / "none", "--out", tmp_path / "out2.safetensors"),
        (tmp_path / "none.safetensors", *data, "--out", tmp_path / "out2.safetensors"),
    ):
        refused = run(*arguments)
        assert refused.returncode == 2
        assert len(refused.stderr.splitlines()) == 1
    assert not (tmp_path / "out2.safetensors").exists()
