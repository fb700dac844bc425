"""The counted operations and parameters agree with what PyTorch counts."""

import pytest

torch = pytest.importorskip("torch")
FlopCounterMode = pytest.importorskip("torch.utils.flop_counter").FlopCounterMode  # torch 2.1

from rmvpe.checkpoint.flops import flops_per_second  # noqa: E402
from rmvpe.config import ModelConfig  # noqa: E402
from rmvpe_torch.model import RMVPE  # noqa: E402


@pytest.mark.parametrize("name", ["small", "e2e"])
def test_operations_agree_with_torch(name: str):
    config = getattr(ModelConfig, name)()
    model = RMVPE(config).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 32, config.mel.n_mels))
    counted = counter.get_total_flops()
    frames_per_second = config.mel.sample_rate / config.mel.hop_samples
    assert flops_per_second(config) == pytest.approx(counted / 32 * frames_per_second, rel=1e-3)


def test_the_small_preset_keeps_its_promise():
    config = ModelConfig.small()
    parameters = sum(tensor.numel() for tensor in RMVPE(config).state_dict().values())
    assert flops_per_second(config) <= 1.3e9
    assert 2 * parameters <= 16e6  # bytes in fp16
