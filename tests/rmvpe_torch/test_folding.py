"""The network of a checkpoint with its batch norms folded: torch's own fusion, to the bit, and back again."""

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.utils.fusion import fuse_conv_bn_eval  # noqa: E402

from rmvpe.checkpoint.architecture import expected_tensors  # noqa: E402
from rmvpe.checkpoint.store import Checkpoint  # noqa: E402
from rmvpe.config import ModelConfig  # noqa: E402
from rmvpe_torch.checkpoint import load_model  # noqa: E402
from rmvpe_torch.folding import folded_checkpoint, load_folded  # noqa: E402
from rmvpe_torch.infer import Backend  # noqa: E402

CPU = torch.device("cpu")
THIN = replace(ModelConfig.e2e(), name="custom", levels=2, blocks=2, inter_layers=2, channels=4, gru_hidden=8)


def checkpoint(config: ModelConfig) -> Checkpoint:
    """Random weights and random batch statistics."""
    rng, tensors = np.random.default_rng(0), {}
    for name, shape in expected_tensors(config).items():
        values = rng.standard_normal(shape)
        tensors[name] = (0.5 + np.abs(values) if "running_var" in name else values).astype(np.float32)
    return Checkpoint(config, tensors, {"step": "7"})


def fused_by_torch(weights: Checkpoint) -> dict[str, Any]:
    """The state of the network folded by torch, in float64."""
    model = load_model(weights)
    modules: list[Any] = list(model.modules())
    for module in modules:
        for place in range(len(module) - 1) if isinstance(module, nn.Sequential) else ():
            conv, norm = module[place], module[place + 1]
            if isinstance(conv, (nn.Conv2d, nn.ConvTranspose2d)) and isinstance(norm, nn.BatchNorm2d):
                transposed = isinstance(conv, nn.ConvTranspose2d)
                module[place] = fuse_conv_bn_eval(conv.double(), norm.double(), transpose=transposed).float()
                module[place + 1] = nn.Identity()
    return model.state_dict()


@pytest.mark.parametrize("config", [ModelConfig.small(), THIN], ids=["small", "timbre filter"])
def test_the_bits_are_those_of_torchs_own_fusion(config: ModelConfig):
    weights = checkpoint(config)
    expected, found = fused_by_torch(weights), load_folded(weights, torch.float32, CPU).state_dict()
    assert set(found) == set(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert {tensor.dtype for name, tensor in found.items() if "num_batches" not in name} == {torch.float32}


def test_only_the_first_batch_norm_stays_and_the_model_is_in_evaluation_mode():
    model = load_folded(checkpoint(ModelConfig.small()), torch.float32, CPU)
    norms = [name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms == ["unet.encoder.bn"]
    assert not model.training


def test_the_weights_of_the_checkpoint_are_not_shared():
    weights = checkpoint(ModelConfig.small())
    model = load_folded(weights, torch.float32, CPU)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for array in weights.tensors.values():
        array.fill(np.nan)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("epsilon", [1e-12, 1e-5, 1e-3, 0.37, 1.0])
def test_a_folded_checkpoint_gives_the_same_bits_again(epsilon: float):
    """Whatever epsilon is: that of the network is 1e-5, and a config may have any from 1e-12 to 1."""
    weights = checkpoint(replace(THIN, bn_epsilon=epsilon))
    model = load_folded(weights, torch.float32, CPU)
    again = folded_checkpoint(model, weights.metadata)
    assert {name: array.shape for name, array in again.tensors.items()} == expected_tensors(weights.config)
    assert again.metadata == {"step": "7"}
    state = load_folded(again, torch.float32, CPU).state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())


def test_a_pickled_backend_computes_the_same_bits():
    backend = Backend(checkpoint(THIN), "cpu")
    log_mel = np.random.default_rng(1).standard_normal((1, 8, 256)).astype(np.float32)
    again = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(backend))))
    assert np.array_equal(again.features(log_mel), backend.features(log_mel))


def test_a_tensor_of_another_shape_is_refused():
    weights = checkpoint(ModelConfig.small())
    wrong = {**weights.tensors, "fc.1.bias": np.zeros(361, np.float32)}
    with pytest.raises(ValueError, match="bias has the shape"):
        load_folded(replace(weights, tensors=wrong), torch.float32, CPU)


def test_a_backend_holds_its_weights_once(monkeypatch):
    """What pickles is made when it is asked for, from the memory of the network itself."""
    backend = Backend(checkpoint(ModelConfig.small()), "cpu")
    held = backend._model.state_dict()
    found = backend._checkpoint().tensors["unet.intermediate.layers.0.conv.0.conv.0.weight"]
    assert found.ctypes.data == held["unet.intermediate.layers.0.conv.0.conv.0.weight"].data_ptr()
    assert not [value for value in vars(backend).values() if isinstance(value, Checkpoint)]
