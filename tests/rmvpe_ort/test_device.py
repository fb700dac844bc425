"""Names of devices, the provider behind each, and what is said where onnxruntime does not have it."""

import numpy as np
import pytest

from rmvpe.errors import UserError
from rmvpe_ort.device import KINDS, resolve

CPU = "CPUExecutionProvider"
EVERYTHING = [row.provider for row in KINDS.values()]
WINDOWS = ["DmlExecutionProvider", CPU]
MAC = ["CoreMLExecutionProvider", CPU]


@pytest.mark.parametrize(
    ("device", "available", "found"),
    [
        ("auto", [CPU], "cpu"),
        ("auto", EVERYTHING, "cuda:0"),
        ("auto", WINDOWS, "dml:0"),
        ("auto", MAC, "cpu"),  # CoreML is asked for by name
        (None, [CPU], "cpu"),
        ("cpu", EVERYTHING, "cpu"),
        ("cpu:0", [CPU], "cpu"),
        (" CUDA ", EVERYTHING, "cuda:0"),
        ("cuda:1", EVERYTHING, "cuda:1"),
        ("gpu", EVERYTHING, "cuda:0"),
        ("gpu:1", WINDOWS, "dml:1"),
        (1, EVERYTHING, "cuda:1"),
        (np.int64(2), WINDOWS, "dml:2"),
        ("dml", WINDOWS, "dml:0"),
        ("coreml", MAC, "coreml"),
    ],
)
def test_a_name_is_a_device(device, available, found):
    assert str(resolve(device, available)) == found


def test_the_cpu_computes_what_the_device_lacks_and_nothing_stands_in_for_it():
    assert resolve("cpu", EVERYTHING).providers == [CPU]
    assert resolve("cuda:1", EVERYTHING).providers == [("CUDAExecutionProvider", {"device_id": "1"}), CPU]
    assert resolve("coreml", EVERYTHING).providers == ["CoreMLExecutionProvider", CPU]


@pytest.mark.parametrize(
    ("device", "provider", "remedy"),
    [
        ("cuda", "CUDAExecutionProvider", "pip install onnxruntime-gpu"),
        ("cuda:3", "CUDAExecutionProvider", "pip install onnxruntime-gpu"),
        ("gpu", "CUDAExecutionProvider", "pip install onnxruntime-gpu"),
        ("dml", "DmlExecutionProvider", "pip install onnxruntime-directml"),
        ("coreml", "CoreMLExecutionProvider", "on a Mac only"),
    ],
)
def test_a_missing_provider_is_one_sentence_with_the_remedy(device, provider, remedy):
    with pytest.raises(UserError) as error:
        resolve(device, [CPU])
    message = str(error.value)
    assert repr(device) in message
    assert provider in message
    assert remedy in message
    assert message.endswith("or choose cpu")
    assert "\n" not in message


@pytest.mark.parametrize("device", ["abacus", "tpu", "mps", "cuda:x", "cuda:-1", "", "cpu cpu"])
def test_an_unknown_name_lists_the_known_ones(device):
    with pytest.raises(UserError, match=r"unknown device .*: choose auto, cuda, dml, coreml, cpu, gpu"):
        resolve(device, EVERYTHING)


@pytest.mark.parametrize("device", ["cpu:1", "coreml:2"])
def test_there_is_one_cpu(device):
    with pytest.raises(UserError, match="does not exist: there is one"):
        resolve(device, EVERYTHING)


@pytest.mark.parametrize("device", [True, 1.5, object(), ["cpu"]])
def test_what_is_no_device_is_said(device):
    with pytest.raises(UserError, match="device must be a name"):
        resolve(device, EVERYTHING)
