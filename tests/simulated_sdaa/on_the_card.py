"""Tests on the simulated card: tests/rmvpe_torch/test_simulated_sdaa.py runs them in a new process."""

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

import rmvpe
from rmvpe.audio import read
from rmvpe.chunked_gru import salience
from rmvpe.config import ModelConfig, TrainConfig
from rmvpe.data.pipeline import Batch
from rmvpe.errors import UserError
from rmvpe.estimator import WINDOW_FRAMES
from rmvpe.evaluation.agreement import CENTS_TOLERANCE
from rmvpe.pitch import cents_between
from rmvpe.training.state import RunState
from rmvpe_torch import device as devices
from rmvpe_torch.distributed import check_processes
from rmvpe_torch.train import TorchTrainer
from tests.helpers.batches import made_up

CARD = devices.resolve("sdaa")
CPU = torch.device("cpu")
DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo.flac"
TINY = ModelConfig(name="tiny", levels=2, blocks=1, inter_layers=1, channels=4, gru_hidden=16, dropout=0.25)
CONFIG = TrainConfig(model=TINY, batch_size=2, excerpt_frames=32, ema_decay=0.9)
STEPS = 6
# Both compute the same in float32, except for the order of sums in the GRU and in Adam's foreach kernels. Adam divides
# small gradients by their own size, so a difference of 1e-7 grows from step to step
SAME_LOSS = 1e-4


def host_copies(work: Callable[[], object]) -> int:
    """How often the host waits for the card during `work`."""
    card: Any = devices.kind_of(CARD).module()
    before = card.host_copies()
    work()
    return card.host_copies() - before


# ---- The simulation is as strict as a card would be ----


def test_there_is_one_card_of_four_core_groups():
    kind = devices.kind_of(CARD)
    assert str(CARD) == "sdaa:0"
    assert kind.count() == kind.ranks_per_card == 4
    assert str(devices.resolve("auto")) == "sdaa:0"
    assert str(devices.resolve("sdaa:3")) == "sdaa:3"
    with pytest.raises(UserError, match="this machine has 4 of them"):
        devices.resolve("sdaa:4")


def test_without_a_card_the_driver_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(devices.kind_of(CARD).module(), "is_available", lambda: False)
    with pytest.raises(UserError, match="finds no card; check the driver"):
        devices.resolve("sdaa")


def test_a_process_for_each_core_group_and_no_more():
    assert check_processes(4, "sdaa") == "sdaa"
    with pytest.raises(UserError, match=r"--nproc_per_node 5 is more processes than there are sdaa devices here.*4$"):
        check_processes(5, "sdaa")
    with pytest.raises(UserError, match=r"--device sdaa:1 is one device.*give --device sdaa$"):
        check_processes(2, "sdaa:1")


def test_what_a_card_trains_with():
    assert devices.amp_dtype(CARD) == torch.float16
    assert devices.memory_format(CARD) == torch.channels_last
    assert devices.process_group(CARD) == "tccl"
    assert not devices.kind_of(CARD).complex_fft


def test_a_process_takes_its_own_core_group():
    devices.set_device(torch.device("sdaa", 3))
    try:
        assert torch.empty(1, device="sdaa").device.index == 3
    finally:
        devices.set_device(CARD)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_fresh_memory_is_not_a_number(dtype: torch.dtype):
    fresh = (torch.empty(3, 2, dtype=dtype, device=CARD), torch.empty_strided((2,), (3,), dtype=dtype, device=CARD))
    assert all(value.isnan().all().item() for value in fresh)
    assert (torch.empty(2, dtype=torch.int64, device=CARD).cpu() == -1).all()


def test_two_devices_do_not_mix():
    ones = torch.ones(2, device=CARD)
    for other in (torch.ones(2), torch.ones(2, device="sdaa:1")):
        with pytest.raises(RuntimeError, match="same device"):
            ones + other
    assert (ones + torch.tensor(1.0)).sum().item() == 4.0  # a single number may come from the host, as on CUDA
    with pytest.raises(TypeError, match="sdaa"):
        ones.numpy()


def test_waiting_for_the_card_is_counted():
    ones = torch.ones(4, device=CARD)
    assert host_copies(lambda: ones.mul_(2.0).sum()) == 0
    assert host_copies(lambda: ones.sum().item()) == 1
    assert host_copies(ones.cpu) == 1
    assert host_copies(lambda: ones.to("sdaa:1")) == 0
    assert host_copies(ones.nonzero) == 1  # how many there are decides the shape
    assert host_copies(lambda: bool((ones > 0).all())) == 1


def test_views_share_memory():
    whole = torch.zeros(4, 6, device=CARD)
    whole.view(2, 12)[1].fill_(1.0)
    whole.t()[0] += 5.0
    whole[:, 2::2].chunk(2, dim=1)[1].copy_(torch.full((4, 1), 7.0))
    expected = torch.zeros(4, 6)
    expected[2:] = 1.0
    expected[:, 0] += 5.0
    expected[:, 4] = 7.0
    assert torch.equal(whole.cpu(), expected)
    assert whole.view(-1).data_ptr() == whole.data_ptr()


def test_layers_made_outside_of_inference_mode_work_in_it():
    layer = nn.GRU(5, 4, batch_first=True).to(CARD)
    with torch.inference_mode():
        assert layer(torch.zeros(1, 3, 5, device=CARD))[0].is_inference()


def test_results_may_be_resized():
    grown = torch.empty(0, device=CARD)
    torch.arange(3.0, 6.0, out=grown)
    assert grown.tolist() == [3.0, 4.0, 5.0]


# ---- Its results are the CPU's ----


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(3, 4, 3, padding=1), (2, 3, 8, 6)),
        (nn.ConvTranspose2d(3, 4, 3, 2, padding=1, output_padding=1, bias=False), (2, 3, 4, 6)),
        (nn.BatchNorm2d(3), (2, 3, 4, 6)),
        (nn.GRU(5, 4, 2, batch_first=True, bidirectional=True), (2, 7, 5)),
    ],
    ids=["convolution", "transposed convolution", "batch norm", "GRU"],
)
def test_layers_and_their_gradients(layer: nn.Module, shape: tuple[int, ...]):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    for expected, found in zip(gradients(layer, x, CPU), gradients(layer, x, CARD)):
        # Sums of some hundred float32 products in another order
        torch.testing.assert_close(found.cpu(), expected, rtol=1e-5, atol=1e-6)


def gradients(layer: nn.Module, x: Tensor, device: torch.device) -> list[Tensor]:
    """Output, gradient of the input and of each parameter."""
    layer = copy.deepcopy(layer).to(device)
    inputs = x.to(device, copy=True).requires_grad_()
    output = layer(inputs)
    output = output[0] if isinstance(output, tuple) else output
    output.square().sum().backward()
    assert output.device == inputs.device == device
    return [value.detach().clone() for value in (output, inputs.grad, *(p.grad for p in layer.parameters()))]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_is_for_convolutions(dtype: torch.dtype):
    layer = nn.Conv2d(1, 1, 3).to(CARD)
    x = torch.randn(1, 1, 8, 8, device=CARD)
    with devices.autocast(CARD, dtype):
        assert layer(x).dtype == dtype
        assert x.exp().dtype == torch.float32
    assert layer(x).dtype == torch.float32


def test_seeding_repeats_dropout():
    def dropped() -> list[float]:
        return nn.functional.dropout(torch.ones(64, device=CARD), 0.5).tolist()

    devices.seed(CARD, 5)
    first = dropped()
    assert dropped() != first
    devices.seed(CARD, 5)
    assert dropped() == first


@pytest.fixture
def process_group_of_one(tmp_path: Path) -> Iterator[None]:
    """A process group of one, by the backend that device.py names."""
    store = dist.FileStore(str(tmp_path / "store"), 1)
    dist.init_process_group(devices.process_group(CARD), store=store, rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_tccl_works(process_group_of_one: None):
    assert dist.get_backend() == "tccl"
    ones = torch.ones(3, device=CARD)
    dist.all_reduce(ones)
    dist.broadcast(ones, 0)
    gathered = [torch.empty(3, device=CARD)]
    dist.all_gather(gathered, ones)
    dist.barrier()
    assert gathered[0].tolist() == [1.0] * 3
    with pytest.raises((RuntimeError, ValueError), match=r"cpu|sdaa"):
        dist.all_reduce(torch.ones(3))


# ---- The project on it ----


@pytest.mark.parametrize("front_end", ["host", "device"])
def test_f0_is_that_of_the_cpu(front_end: str):
    card, cpu = (rmvpe.load(backend="torch", device=name, front_end=front_end) for name in ("sdaa", "cpu"))
    found, expected = card.from_file(DEMO), cpu.from_file(DEMO)
    # The spectrum as a matrix product in float32 is within 2e-4 of that by FFT, which may move a frame at the threshold
    same = found.voiced == expected.voiced
    assert np.mean(~same) <= (0.0 if front_end == "host" else 0.01)
    both = found.voiced & expected.voiced
    assert both.any()
    assert np.abs(cents_between(found.f0_hz[both], expected.f0_hz[both])).max() <= CENTS_TOLERANCE


def test_salience_of_a_recording_of_several_windows_is_that_of_the_cpu():
    card, cpu = (rmvpe.load(backend="torch", device=name) for name in ("sdaa", "cpu"))
    sound = np.tile(read(DEMO).samples, 5)
    assert len(sound) > 160 * WINDOW_FRAMES
    np.testing.assert_allclose(card.salience(sound, 16000), cpu.salience(sound, 16000), rtol=0, atol=1e-4)


def batches(step: int) -> list[Batch]:
    """Two micro-batches of random numbers."""
    rng = np.random.default_rng(step)
    shape = (CONFIG.batch_size, CONFIG.excerpt_frames)
    return [
        made_up(
            rng.standard_normal((*shape, TINY.mel.n_mels), dtype=np.float32),
            rng.random((*shape, TINY.n_bins), dtype=np.float32),
        )
        for _ in range(2)
    ]


def train(trainer: TorchTrainer, steps: range) -> list[dict[str, float]]:
    return [trainer.train_step(batches(step), 1e-3) for step in steps]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_losses_are_those_of_the_cpu(dtype: str):
    config = dataclasses.replace(CONFIG, conv_dtype=dtype, grad_accumulation=2)
    card, cpu = (train(TorchTrainer(config, device), range(STEPS)) for device in (CARD, CPU))
    # In low precision the simulation sums in float32, the CPU as its kernels do: half a unit in the last place
    tolerance = {"float32": SAME_LOSS, "float16": 2**-12, "bfloat16": 2**-9}[dtype]
    assert [step["loss"] for step in card] == pytest.approx([step["loss"] for step in cpu], rel=tolerance)
    assert len({step["loss"] for step in card}) == STEPS
    assert ("loss_scale" in card[0]) == (dtype == "float16")


def test_nothing_of_a_state_is_fresh_memory():
    card, cpu = (TorchTrainer(CONFIG, device) for device in (CARD, CPU))
    for name, group in tensors(card.capture()).items():
        assert all(np.array_equal(value, tensors(cpu.capture())[name][key]) for key, value in group.items()), name
    train(card, range(2))
    train(cpu, range(2))
    for name, group in tensors(card.capture()).items():
        assert all(np.isfinite(value).all() for value in group.values()), name
    # Adam's rounding, see SAME_LOSS, in a network of a few updates
    log_mel = batches(0)[0].log_mel
    found, expected = (salience(side.network(side.checkpoint({})), log_mel) for side in (card, cpu))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def tensors(state: RunState) -> dict[str, Mapping[str, np.ndarray]]:
    return {name: getattr(state, name) for name in ("weights", "average", "first_moment", "second_moment")}


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_convolutions_and_nothing_else_run_in_low_precision(dtype: str):
    trainer = TorchTrainer(dataclasses.replace(CONFIG, conv_dtype=dtype), CARD)
    seen: dict[str, torch.dtype] = {}
    for name, layer in (("cnn", trainer.model.cnn), ("linear", trainer.model.fc[1])):
        layer.register_forward_hook(lambda layer, inputs, output, name=name: seen.update({name: output.dtype}))
    train(trainer, range(1))
    assert seen == {"cnn": getattr(torch, dtype), "linear": torch.float32}


@pytest.mark.parametrize(("dtype", "waits"), [("float32", 1), ("bfloat16", 1), ("float16", 3)])
def test_a_step_waits_for_the_card_as_rarely_as_it_can(dtype: str, waits: int):
    """Once for loss and norms together; float16 also for its scale, and whether the gradients overflowed."""
    trainer = TorchTrainer(dataclasses.replace(CONFIG, conv_dtype=dtype), CARD)
    train(trainer, range(2))  # the scaler makes its tensors in the first
    assert host_copies(lambda: train(trainer, range(2, 3))) == waits


def test_a_step_that_overflows_float16_is_left_out():
    trainer = TorchTrainer(dataclasses.replace(CONFIG, conv_dtype="float16"), CARD)
    train(trainer, range(1))
    before = trainer.capture()
    spoiled = [dataclasses.replace(batch, log_mel=batch.log_mel * np.float32(1e30)) for batch in batches(1)]
    trainer.train_step(spoiled, 1e-3)
    after = trainer.capture()
    assert (after.step, after.updates) == (before.step + 1, before.updates)
    assert after.scaler["scale"] == before.scaler["scale"] / 2


@pytest.mark.parametrize(("first", "second"), [("sdaa", "cpu"), ("cpu", "sdaa")])
def test_a_state_goes_on_where_it_is_wanted(first: str, second: str, tmp_path: Path):
    start = TorchTrainer(CONFIG, devices.resolve(first))
    losses = train(start, range(STEPS // 2))
    path = start.states.save(tmp_path, start.capture())
    end = TorchTrainer(CONFIG, devices.resolve(second))
    end.restore(end.states.load(path))
    losses += train(end, range(STEPS // 2, STEPS))
    whole = train(TorchTrainer(CONFIG, CPU), range(STEPS))
    assert [step["loss"] for step in losses] == pytest.approx([step["loss"] for step in whole], rel=SAME_LOSS)
