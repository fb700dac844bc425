"""Devices by name: what is there is found, what is not is explained, and SDAA is known without its package."""

import importlib.util
import subprocess
import sys
import types
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from rmvpe.errors import UserError  # noqa: E402
from rmvpe_torch import device  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


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


@pytest.fixture
def simulated_card(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A module torch_sdaa that registers torch.sdaa, as the real one does; returns the seeds it was given."""
    seeds: list[int] = []
    card = types.SimpleNamespace(is_available=lambda: True, device_count=lambda: 4, manual_seed=seeds.append)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setitem(sys.modules, "torch_sdaa", types.ModuleType("torch_sdaa"))
    monkeypatch.setattr(torch, "sdaa", card, raising=False)
    return seeds


def test_sdaa_seeds_and_abilities(simulated_card: list[int]):
    kind = device.KINDS["sdaa"]
    assert kind.why_not() == ""
    assert (kind.count(), kind.process_group, kind.complex_fft) == (4, "tccl", False)
    kind.module().manual_seed(7)
    assert simulated_card == [7]


def test_sdaa_without_a_card(simulated_card: list[int], monkeypatch: pytest.MonkeyPatch):
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
