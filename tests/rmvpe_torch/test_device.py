"""Devices by name: one that exists is found, and for one that does not the error says what to do.

What a card does is tested on the simulated one: tests/simulated_sdaa. Here are the errors without it.
"""

import importlib.util
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from rmvpe.errors import UserError  # noqa: E402
from rmvpe_torch import device  # noqa: E402


def test_the_cpu_always_exists():
    assert device.resolve("cpu") == torch.device("cpu")
    assert device.resolve("cpu:0") == torch.device("cpu")
    assert device.kind_of(torch.device("cpu")).complex_fft


def kinds(*usable: str, count: int = 1) -> dict[str, device.DeviceKind]:
    """The kinds on a machine that has `count` devices of each of the `usable` ones, and a CPU."""
    reasons = {name: "" if name in (*usable, "cpu") else "none here" for name in device.KINDS}
    return {
        name: replace(row, why_not=partial(reasons.__getitem__, name), count=lambda: count)
        for name, row in device.KINDS.items()
    }


def test_auto_takes_the_first_that_exists():
    assert device.resolve("auto", kinds()) == torch.device("cpu")
    assert device.resolve("auto", kinds("mps")) == torch.device("cpu")  # Apple's GPU is used only on request
    assert device.resolve("mps", kinds("mps")).type == "mps"
    assert device.resolve("auto", kinds("cuda", "mps")) == torch.device("cuda", 0)


def test_devices_by_number():
    assert device.resolve("cuda:1", kinds("cuda", count=2)) == torch.device("cuda", 1)
    with pytest.raises(UserError, match=r"'cuda:2' does not exist: this machine has 2 of them, counted from cuda:0"):
        device.resolve("cuda:2", kinds("cuda", count=2))


@pytest.mark.parametrize("name", ["cuda:one", "cuda:-1", "", "tpu", "sdaa-0"])
def test_unknown_names(name: str):
    with pytest.raises(UserError, match=r"unknown device .*choose auto, cuda, sdaa, mps, cpu"):
        device.resolve(name)


@pytest.mark.parametrize("name", ["gpu", "GPU", "cuda", "CUDA:0", 0, torch.device("cuda"), torch.device("cuda", 0)])
def test_a_gpu_by_any_name_is_cuda(name: object):
    assert device.resolve(name, kinds("cuda", count=2)) == torch.device("cuda", 0)
    with pytest.raises(UserError, match=r"'gpu:2' does not exist.*2 of them, counted from cuda:0"):
        device.resolve("gpu:2", kinds("cuda", count=2))


@pytest.mark.parametrize("name", ["cpu", "CPU", " cpu ", "cpu:0", torch.device("cpu"), torch.device("cpu", 0)])
def test_the_cpu_by_any_name(name: object):
    assert device.resolve(name) == torch.device("cpu")


@pytest.mark.parametrize("name", [True, 1.5, b"cpu", ["cpu"], object()])
def test_what_is_no_device_is_one_sentence(name: object):
    with pytest.raises(UserError, match="device must be a name such as cpu"):
        device.resolve(name)


def test_cuda_without_a_gpu():
    with pytest.raises(UserError, match=r"'cuda:1' .*CUDA build of torch.*cpu"):
        device.resolve("cuda:1")


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="this machine has an Apple GPU")
def test_apples_gpu_elsewhere():
    with pytest.raises(UserError, match=r"'mps' .*Apple silicon"):
        device.resolve("mps")


without_torch_sdaa = pytest.mark.skipif(
    importlib.util.find_spec("torch_sdaa") is not None, reason="torch_sdaa is installed here"
)


@without_torch_sdaa
def test_sdaa_without_its_package():
    with pytest.raises(UserError, match=r"'sdaa' .*torch_sdaa is not installed.*Tecorigin.*cpu"):
        device.resolve("sdaa")


@without_torch_sdaa
def test_sdaa_that_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "torch_sdaa.py").write_text("raise ImportError('libsdaart.so.2: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"torch_sdaa cannot be used \(libsdaart.*fix its installation"):
        device.resolve("sdaa:0")


def test_seeding_repeats():
    cpu = torch.device("cpu")
    device.seed(cpu, 3)
    first = torch.rand(4)
    device.seed(cpu, 3)
    assert torch.equal(torch.rand(4), first)


def test_full_precision_turns_tf32_off_and_back():
    before = torch.backends.cudnn.allow_tf32
    with device.full_precision(torch.device("cuda")):
        assert torch.backends.cudnn.allow_tf32 is False
    assert torch.backends.cudnn.allow_tf32 == before
    with device.full_precision(torch.device("cpu")):
        assert torch.backends.cudnn.allow_tf32 == before


def test_what_the_cpu_trains_with():
    cpu = torch.device("cpu")
    device.set_device(cpu)
    assert device.amp_dtype(cpu) == torch.bfloat16
    assert device.process_group(cpu) == "gloo"
    assert device.memory_format(cpu) == torch.channels_last


def test_low_precision_on_cuda():
    assert device.cuda_amp_dtype((7, 5)) == torch.float16
    assert device.cuda_amp_dtype((8, 0)) == torch.bfloat16
    assert device.process_group(torch.device("cuda", 0)) == "nccl"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_autocast(dtype: Any):
    cpu = torch.device("cpu")
    ones = torch.ones(2, 2)
    with device.autocast(cpu, dtype):
        assert (ones @ ones).dtype == (torch.bfloat16 if dtype == torch.bfloat16 else torch.float32)
    assert not device.needs_scaler(dtype)


@pytest.mark.skipif(not hasattr(torch.amp, "GradScaler"), reason="this torch has no gradient scaling on CPUs")
def test_gradients_are_scaled_where_float16_needs_it():
    assert device.needs_scaler(torch.float16)
    scaler = device.grad_scaler(torch.device("cpu"), enabled=True)
    assert scaler.scale(torch.ones(1)).item() == scaler.get_scale() > 1
    idle = device.grad_scaler(torch.device("cpu"), enabled=False)
    assert idle.scale(torch.ones(1)).item() == 1
    assert idle.state_dict() == {}


def test_gradient_scaling_on_an_old_torch(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(torch.amp, "GradScaler", raising=False)
    with pytest.raises(UserError, match=r"cannot scale gradients on cpu: choose bfloat16 .* torch 2\.3"):
        device.grad_scaler(torch.device("cpu"), enabled=True)


@pytest.mark.parametrize(
    "message",
    ["CUDA out of memory. Tried to allocate 2.00 GiB", "[enforce fail] DefaultCPUAllocator: can't allocate memory"],
)
def test_full_memory_is_a_users_error(message: str):
    with (
        pytest.raises(UserError, match=r"cpu has too little memory .*--batch_size.*--grad_accumulation"),
        device.out_of_memory_errors(torch.device("cpu")),
    ):
        raise RuntimeError(message)


def test_full_memory_for_real():
    with pytest.raises(UserError, match=r"too little memory"), device.out_of_memory_errors(torch.device("cpu")):
        torch.empty(2**60, dtype=torch.uint8)  # an exbibyte


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="sizes differ"), device.out_of_memory_errors(torch.device("cpu")):
        raise RuntimeError("sizes differ")
