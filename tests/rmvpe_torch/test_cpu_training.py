"""The network arranged for training on a CPU computes what the network as published does, and keeps its names."""

import copy

import pytest

torch = pytest.importorskip("torch")

from rmvpe_torch.cpu_training import arrange  # noqa: E402
from rmvpe_torch.model import RMVPE, BiGRU  # noqa: E402
from tests.helpers.networks import EVERY_LAYER  # noqa: E402

TOLERANCE = 1e-10  # float64: the same sums in another order


def pair() -> tuple[RMVPE, RMVPE]:
    """A network in float64, and the same one arranged for training on a CPU."""
    torch.manual_seed(1)
    plain = RMVPE(EVERY_LAYER).double().train()
    other = copy.deepcopy(plain).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return plain, arrange(other, torch.device("cpu"))


def test_logits_gradients_and_statistics_are_those_of_the_published_network():
    plain, arranged = pair()
    log_mel = torch.randn(3, 20, 16, dtype=torch.float64, requires_grad=True)
    found = []
    for model in (plain, arranged):
        logits = model.logits(log_mel)
        weights = torch.linspace(-1.0, 2.0, logits.numel(), dtype=torch.float64).view_as(logits)
        by_input = torch.autograd.grad((logits * weights).sum(), [log_mel, *model.parameters()])
        found.append([logits, *by_input, *model.buffers()])
    for one, other in zip(*found):
        torch.testing.assert_close(other, one, rtol=TOLERANCE, atol=TOLERANCE)


def test_names_order_and_parameters_stay():
    plain, arranged = pair()
    assert list(arranged.state_dict()) == list(plain.state_dict())
    assert [name for name, _ in arranged.named_parameters()] == [name for name, _ in plain.named_parameters()]


@pytest.mark.parametrize(("clips", "frames"), [(1, 1), (3, 1), (1, 5), (3, 5)])
def test_the_gru_agrees_for_one_clip_and_for_one_frame(clips, frames):
    plain, arranged = (model.fc[0] for model in pair())
    features = EVERY_LAYER.head_channels * EVERY_LAYER.mel.n_mels
    x = torch.randn(clips, frames, features, dtype=torch.float64, requires_grad=True)
    found = []
    for block in (plain, arranged):
        output = block(x)
        found.append([output, *torch.autograd.grad(output.square().sum(), [x, *block.parameters()])])
    for one, other in zip(*found):
        torch.testing.assert_close(other, one, rtol=TOLERANCE, atol=TOLERANCE)


def test_the_weights_of_the_bottom_get_gradients_in_their_own_layout():
    """Torch would copy each weight for Adam if its layout were not the default one."""
    _, arranged = pair()
    arranged.logits(torch.randn(2, 8, 16, dtype=torch.float64)).sum().backward()
    for parameter in arranged.unet.intermediate.parameters():
        assert parameter.is_contiguous()
        assert parameter.grad is not None
        assert parameter.grad.is_contiguous()


def test_on_another_device_the_network_stays_as_it_is():
    model = arrange(RMVPE(EVERY_LAYER), torch.device("cuda"))
    assert type(model.fc[0]) is BiGRU
    assert not any(module.inplace for module in model.modules() if isinstance(module, torch.nn.ReLU))
