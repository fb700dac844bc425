"""A loss that is not a number, with two ranks: the files of the rank where it arose are named, once."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
jax = pytest.importorskip("jax")
pytest.importorskip("grain")

from rmvpe.data.pipeline import training_batches  # noqa: E402
from rmvpe.errors import UserError  # noqa: E402
from rmvpe.processes import Ranks  # noqa: E402
from rmvpe.training.folder import FAILED_BATCH  # noqa: E402
from rmvpe.training.loop import fit  # noqa: E402
from rmvpe_jax.train import JaxTrainer  # noqa: E402
from tests.helpers.hybrid import make_hybrid  # noqa: E402
from tests.helpers.paths import ROOT  # noqa: E402
from tests.parity.spoiled_worker import CONFIG, SPOILED, Spoiled  # noqa: E402

DEADLINE_S = 200


@pytest.fixture(scope="module")
def hybrid(tmp_path_factory) -> Path:
    return make_hybrid(tmp_path_factory.mktemp("data") / "Hybrid")


def expected(hybrid: Path) -> tuple[int, set[str], int]:
    """The first update with the spoiled file, what is named there, and the rank that it is on."""
    source = Spoiled(hybrid, "train")
    streams = [training_batches(source, CONFIG, Ranks(2, process)) for process in range(2)]
    for update in range(1, CONFIG.iterations + 1):
        names = [[source.name(int(index)) for index in next(stream).index] for stream in streams]
        found = [rank for rank, files in enumerate(names) if SPOILED in map(stem, files)]
        if found:
            assert len(found) == 1, "choose a seed where one rank alone has it"
            return update, set(map(stem, names[found[0]])), found[0]
    raise AssertionError("choose a seed where the file is drawn")


def stem(name: str) -> str:
    return Path(name).stem


def check(message: str, hybrid: Path, logdir: Path, common_batch_norm: bool) -> None:
    update, _, rank = expected(hybrid)
    assert f"the loss became nan at iteration {update} on {SPOILED}" in message
    named = message.split(" on ")[1].split(" (all in")[0]
    assert all(stem(part.split(" at ")[0]) == SPOILED for part in named.split(", ")), named
    report = json.loads((logdir / FAILED_BATCH).read_text())
    assert report["step"] == update
    assert [row["rank"] for row in report["batch"]] == [0, 0, 1, 1]
    assert {stem(row["file"]) for row in report["batch"] if not row["finite_input"]} == {SPOILED}
    not_finite = {row["rank"] for row in report["batch"] if not row["finite_loss"]}
    assert not_finite == ({0, 1} if common_batch_norm else {rank})


def worker(*arguments: object) -> subprocess.Popen:
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
        "XLA_FLAGS": "--xla_force_host_platform_device_count=1",
        "JAX_PLATFORMS": "cpu",
    }
    command = [sys.executable, "-m", "tests.parity.spoiled_worker", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)


def test_two_processes_of_torch(hybrid, tmp_path):
    process = worker("torch", hybrid, tmp_path)
    _, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 2, err
    assert err.count("the loss became") == 1, err
    assert "Traceback" not in err
    check(err, hybrid, tmp_path, common_batch_norm=False)


def test_two_processes_of_jax(hybrid, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    processes = [worker("jax", hybrid, tmp_path, address, number) for number in range(2)]
    texts = [process.communicate(timeout=DEADLINE_S)[1] for process in processes]
    assert [process.returncode for process in processes] == [2, 2], texts
    assert [text.count("the loss became") for text in texts] == [1, 0], texts
    assert not any("Traceback" in text for text in texts), texts
    check(texts[0], hybrid, tmp_path, common_batch_norm=True)


def test_two_devices_of_one_process_of_jax(hybrid, tmp_path):
    devices = jax.local_devices(backend="cpu")[:2]
    if len(devices) < 2:
        pytest.skip("needs two devices")
    with pytest.raises(UserError) as error:
        fit(JaxTrainer(CONFIG, devices), CONFIG, Spoiled(hybrid, "train"), None, tmp_path)
    check(str(error.value), hybrid, tmp_path, common_batch_norm=True)
