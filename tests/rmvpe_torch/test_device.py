"""Devices by name: what is there is found, what is not is explained, and SDAA is known without its package."""

import importlib.util
import subprocess
import sys
import types
from collections.abc import Callable
from contextlib import nullcontext

import pytest

torch = pytest.importorskip("torch")

from rmvpe.errors import UserError  # noqa: E402
from rmvpe_torch import device  # noqa: E402
from tests.helpers.paths import ROOT  # noqa: E402


def test_the_cpu_is_always_there():
    assert device.resolve("cpu") == torch.device("cpu")
    assert device.resolve("cpu:0") == torch.device("cpu")
    assert device.kind_of(torch.device("cpu")).complex_fft


def test_auto_takes_the_first_that_is_there(monkeypatch: pytest.MonkeyPatch):
    for row in ("cuda", "sdaa", "mps"):
        monkeypatch.setitem(device.KINDS, row, pretend(device.KINDS[row], there=False))
    assert device.resolve() == torch.device("cpu")
    monkeypatch.setitem(device.KINDS, "mps", pretend(device.KINDS["mps"], there=True))
    assert device.resolve() == torch.device("cpu")  # Apple's GPU is used when asked for
    assert device.resolve("mps").type == "mps"
    monkeypatch.setitem(device.KINDS, "cuda", pretend(device.KINDS["cuda"], there=True, count=2))
    assert device.resolve() == torch.device("cuda", 0)
    assert device.resolve("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(UserError, match=r"'cuda:2' is not there: this machine has 2 of them, counted from cuda:0"):
        device.resolve("cuda:2")


def pretend(kind: device.Kind, *, there: bool, count: int = 1) -> device.Kind:
    from dataclasses import replace

    return replace(kind, why_not=lambda: "" if there else "it was taken away", count=lambda: count)


@pytest.mark.parametrize("name", ["gpu", "CUDA", "cuda:one", "cuda:-1", "", "tpu", "sdaa-0"])
def test_unknown_names(name: str):
    with pytest.raises(UserError, match=r"unknown device .*choose auto, cuda, sdaa, mps, cpu"):
        device.resolve(name)


def test_cuda_without_a_gpu(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"'cuda:1' is not there: .*CUDA build of torch.*cpu"):
        device.resolve("cuda:1")


def test_apples_gpu_elsewhere(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"'mps' is not there: .*Apple silicon"):
        device.resolve("mps")


def test_sdaa_without_its_package(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"'sdaa' is not there: torch_sdaa is not installed.*Tecorigin.*cpu"):
        device.resolve("sdaa")


def test_sdaa_that_does_not_start(monkeypatch: pytest.MonkeyPatch):
    def broken(name: str) -> None:
        raise ImportError("libsdaart.so.2: cannot open shared object file")

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.raises(UserError, match=r"torch_sdaa cannot be used \(libsdaart.*mend its installation"):
        device.resolve("sdaa:0")


class Card(types.SimpleNamespace):
    """A `torch.sdaa` that notes how it is used."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        noted = {name: self._noting(name) for name in ("manual_seed", "set_device")}
        amp = types.SimpleNamespace(autocast=self._noting("autocast"), GradScaler=self._noting("GradScaler"))
        super().__init__(is_available=lambda: True, device_count=lambda: 4, amp=amp, **noted)

    def _noting(self, name: str) -> Callable[..., nullcontext[None]]:
        def call(*arguments: object, **named: object) -> nullcontext[None]:
            self.calls.append((name, *arguments, *named.items()))
            return nullcontext()

        return call


@pytest.fixture
def simulated_card(monkeypatch: pytest.MonkeyPatch) -> Card:
    """A module torch_sdaa that registers torch.sdaa, as the real one does."""
    card = Card()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setitem(sys.modules, "torch_sdaa", types.ModuleType("torch_sdaa"))
    monkeypatch.setattr(torch, "sdaa", card, raising=False)
    return card


def test_sdaa_seeds_and_abilities(simulated_card: Card):
    kind = device.KINDS["sdaa"]
    assert kind.why_not() == ""
    assert (kind.count(), kind.process_group, kind.complex_fft) == (4, "tccl", False)
    assert kind.ranks_per_card == 4
    kind.module().manual_seed(7)
    assert simulated_card.calls == [("manual_seed", 7)]


def test_sdaa_is_asked_in_its_own_words(simulated_card: Card):
    """Only what Tecorigin documents is called: float16 is its autocast's own choice."""
    card = SdaaDevice()
    device.set_device(card)
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        with device.autocast(card, dtype):
            pass
    device.grad_scaler(card, enabled=False)
    assert simulated_card.calls == [
        ("set_device", card),
        ("autocast",),
        ("autocast", ("dtype", torch.bfloat16)),
        ("GradScaler", ("enabled", False)),
    ]
    assert device.amp_dtype(card) == torch.float16
    assert device.memory_format(card) == torch.channels_last
    assert device.process_group(card) == "tccl"


class SdaaDevice(types.SimpleNamespace):
    """`torch.device("sdaa:1")`, whose name torch does not know in this process."""

    def __init__(self) -> None:
        super().__init__(type="sdaa", index=1)


def test_sdaa_without_a_card(simulated_card: Card, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.sdaa, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"finds no card"):
        device.resolve("sdaa")


def test_sdaa_resolves_where_torch_knows_the_name():
    # In a process of its own: renaming torch's spare device cannot be undone
    code = (
        "import sys, types, importlib.util, torch; torch.utils.rename_privateuse1_backend('sdaa');"
        "importlib.util.find_spec = lambda name: name; sys.modules['torch_sdaa'] = types.ModuleType('torch_sdaa');"
        "torch.sdaa = types.SimpleNamespace(is_available=lambda: True, device_count=lambda: 4);"
        "torch.cuda.is_available = lambda: False;"
        "from rmvpe_torch.device import resolve, kind_of;"
        "print(resolve(), resolve('sdaa:3'), kind_of(resolve('sdaa')).process_group)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["sdaa:0", "sdaa:3", "tccl"]


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


@pytest.mark.parametrize(("capability", "dtype"), [((7, 5), torch.float16), ((8, 0), torch.bfloat16)])
def test_low_precision_on_cuda(capability: tuple[int, int], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda where: capability)
    assert device.amp_dtype(torch.device("cuda", 0)) == dtype
    assert device.process_group(torch.device("cuda", 0)) == "nccl"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_autocast(dtype: torch.dtype):
    cpu = torch.device("cpu")
    ones = torch.ones(2, 2)
    with device.autocast(cpu, dtype):
        assert (ones @ ones).dtype == (torch.bfloat16 if dtype == torch.bfloat16 else torch.float32)
    assert not device.needs_scaler(dtype)


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
def test_full_memory_is_told_in_a_sentence(message: str):
    with (
        pytest.raises(UserError, match=r"cpu has too little memory .*--batch_size.*--grad_accumulation"),
        device.out_of_memory_told(torch.device("cpu")),
    ):
        raise RuntimeError(message)


def test_full_memory_for_real():
    with pytest.raises(UserError, match=r"too little memory"), device.out_of_memory_told(torch.device("cpu")):
        torch.empty(2**60, dtype=torch.uint8)  # an exbibyte


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="sizes differ"), device.out_of_memory_told(torch.device("cpu")):
        raise RuntimeError("sizes differ")
