"""Training states on disk: what is written comes back, and nothing half-written is ever found."""

import dataclasses
import os
import signal
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from rmvpe import files  # noqa: E402
from rmvpe.checkpoint.store import load as load_checkpoint  # noqa: E402
from rmvpe.config import ModelConfig, TrainConfig  # noqa: E402
from rmvpe.errors import UserError  # noqa: E402
from rmvpe.training.state import RunState, StateStore, choose, prune  # noqa: E402
from rmvpe_torch import state  # noqa: E402
from tests.helpers.paths import ROOT  # noqa: E402

STORE: StateStore = state  # a module can be one


def make_state(step: int = 7, size: int = 1000) -> RunState:
    """A state whose fields all differ; its arrays are `size` numbers long."""
    rng = np.random.default_rng(step)

    def arrays(*names: str) -> dict[str, np.ndarray]:
        return {name: rng.normal(size=size).astype(np.float32) for name in names}

    return RunState(
        config=TrainConfig(model=ModelConfig.small(), learning_rate=1e-3, seed=3),
        step=step,
        examples=step * 32,
        weights=arrays("a.weight", "a.running_var"),
        average=arrays("a.weight", "a.running_var"),
        first_moment=arrays("a.weight"),
        second_moment=arrays("a.weight"),
        updates=step - 1,
        generators={"cpu": rng.integers(0, 256, 5056).astype(np.uint8)},
        scaler={"scale": 65536.0, "_growth_tracker": 3.0},
        about={"framework": "torch", "best_rpa": "0.9"},
    )


def assert_same(one: RunState, other: RunState) -> None:
    for field in dataclasses.fields(RunState):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if field.name in state.TENSORS:
            assert list(a) == list(b), field.name
            for name in a:
                assert a[name].dtype == b[name].dtype
                np.testing.assert_array_equal(a[name], b[name], err_msg=f"{field.name} {name}")
        else:
            assert a == b, field.name


def test_what_is_saved_comes_back(tmp_path):
    original = make_state()
    path = STORE.save(tmp_path, original)
    assert path == tmp_path / "state-00000007.pt"
    assert_same(STORE.load(path), original)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_torch_alone_can_read_it(tmp_path):
    content = torch.load(state.save(tmp_path, make_state()), weights_only=True)
    assert content["step"] == 7
    assert content["config"]["model"]["name"] == "small"
    assert content["weights"]["a.weight"].shape == (1000,)


def test_a_slice_is_saved_without_what_it_was_cut_from(tmp_path):
    whole = np.zeros(1_000_000, np.float32)
    path = state.save(tmp_path, dataclasses.replace(make_state(), weights={"a.weight": whole[:10]}))
    assert path.stat().st_size < 100_000


def test_states_are_found_in_order_and_others_files_are_not(tmp_path):
    assert STORE.find(tmp_path / "nothing") == {}
    for step in (100, 20, 3):
        state.save(tmp_path, make_state(step))
    for name in (".state-00000200-abc.pt", "state-00000300.pt.tmp", "state-best.pt", "last.safetensors"):
        (tmp_path / name).touch()
    assert list(STORE.find(tmp_path)) == [3, 20, 100]
    assert choose(STORE, tmp_path, "latest").name == "state-00000100.pt"
    prune(STORE, tmp_path, keep=1, best=3)
    assert list(STORE.find(tmp_path)) == [3, 100]


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_file_cut_short_is_named(share, tmp_path):
    path = state.save(tmp_path, make_state())
    os.truncate(path, int(path.stat().st_size * share))
    with pytest.raises(UserError, match=r"state-00000007\.pt is truncated or damaged .*resume from another state"):
        state.load(path)


def test_one_changed_byte_of_a_weight_is_noticed(tmp_path):
    path = state.save(tmp_path, make_state())
    content = bytearray(path.read_bytes())
    at = content.index(make_state().weights["a.weight"].tobytes())
    content[at + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        UserError, match=r"state-00000007\.pt is truncated or damaged \(Bad CRC-32 .*data.*resume from another"
    ):
        state.load(path)


def test_what_is_no_state_of_ours_is_refused(tmp_path):
    old = tmp_path / "state-00000001.pt"
    torch.save({"step": 1, "model_config": {}, "model": {}, "average": {}, "optimizer": {}, "rng": None}, old)
    with pytest.raises(UserError, match=r"not a training state of this version.*last\.safetensors with --initial"):
        state.load(old)
    with pytest.raises(UserError, match=r"state-00000002\.pt does not exist"):
        state.load(tmp_path / "state-00000002.pt")
    content = torch.load(state.save(tmp_path, make_state()), weights_only=True)
    torch.save({name: value for name, value in content.items() if name != "updates"}, old)
    with pytest.raises(UserError, match="lacks 'updates'"):
        state.load(old)
    torch.save(content | {"config": content["config"] | {"flavour": "sweet"}}, old)
    with pytest.raises(UserError, match=r"state-00000001\.pt: .*unknown setting flavour"):
        state.load(old)


def test_code_in_a_state_does_not_run(tmp_path):
    class Attack:
        def __reduce__(self):
            return Path.touch, (tmp_path / "touched",)

    path = tmp_path / "state-00000001.pt"
    torch.save({"format": state.FORMAT, "step": Attack()}, path)
    with pytest.raises(UserError, match=r"pickled Python object.*nothing in it was run"):
        state.load(path)
    assert not (tmp_path / "touched").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are a POSIX matter")
@pytest.mark.parametrize("limit", [0, 100, 200_000])
def test_a_full_disk_is_a_users_error_and_leaves_the_earlier_state(limit, tmp_path):
    import resource

    earlier = state.save(tmp_path, make_state(1))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))  # a real failure of write, as of a full disk
    try:
        with pytest.raises(UserError, match=r"cannot write .*state-00000002\.pt: File too large; free some space"):
            state.save(tmp_path, make_state(2, size=50_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [entry.name for entry in tmp_path.iterdir()] == [earlier.name]
    assert_same(state.load(earlier), make_state(1))


def test_a_folder_that_cannot_be_written_is_a_users_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        state.save(tmp_path / "file" / "run", make_state())


KILLED = """
import resource, signal, sys
from pathlib import Path
from rmvpe_torch import state
from tests.rmvpe_torch.test_state import make_state
folder, limit = Path(sys.argv[1]), int(sys.argv[2])
state.save(folder, make_state(1))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # the system kills the process at this byte of the next file
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
state.save(folder, make_state(2, size=50_000))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGXFSZ")
@pytest.mark.parametrize("limit", [0, 100, 200_000, 800_000])
def test_a_process_that_is_killed_while_it_writes_leaves_whole_states(limit: int, tmp_path: Path):
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), str(limit)], cwd=ROOT)
    assert done.returncode == -signal.SIGXFSZ
    assert list(state.find(tmp_path)) == [1]
    assert_same(state.load(state.find(tmp_path)[1]), make_state(1))


@pytest.mark.skipif(sys.platform == "win32", reason="no folder is flushed there")
def test_the_name_comes_after_the_content_is_on_the_disk(tmp_path, monkeypatch):
    """The order that a power cut asks for: sync the file, name it, sync the folder."""
    events: list[str] = []
    sync, replace = os.fsync, files.replace_file

    def noted_sync(handle: int) -> None:
        events.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        sync(handle)

    def noted_replace(source: Path, target: Path) -> None:
        with zipfile.ZipFile(source) as archive:
            assert archive.testzip() is None
        events.append("name")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(files, "replace_file", noted_replace)
    state.save(tmp_path, make_state())
    assert events == ["file", "name", "folder"]


def network_state(average: bool) -> RunState:
    """A state of a network that can be built, with a threshold among what is said about it."""
    from rmvpe.checkpoint.architecture import expected_tensors

    model = ModelConfig(name="tiny", levels=2, blocks=1, inter_layers=1, channels=2, gru_hidden=4, dropout=0.0)
    rng = np.random.default_rng(0)

    def draw() -> dict[str, np.ndarray]:
        return {name: rng.normal(0.5, 0.1, shape).astype(np.float32) for name, shape in expected_tensors(model).items()}

    return RunState(
        config=TrainConfig(model=model, excerpt_frames=32),
        step=7,
        examples=14,
        weights=draw(),
        average=draw() if average else {},
        first_moment=draw(),
        second_moment=draw(),
        updates=7,
        about={"threshold": "0.24", "calibration": "1.5,-0.5", "framework": "torch"},
    )


@pytest.mark.parametrize("average", [False, True])
def test_a_state_is_taken_as_weights_and_needs_no_torch(average, tmp_path):
    original = network_state(average)
    path = state.save(tmp_path, original)
    for place in (path, tmp_path):  # the file, or the folder of the run
        found = load_checkpoint(place)
        assert found.config == original.config.model
        assert (found.threshold, found.calibration) == (0.24, (1.5, -0.5))
        assert found.metadata["step"] == "7"
        for name, tensor in (original.average or original.weights).items():
            np.testing.assert_array_equal(found.tensors[name], tensor)
    code = f"import sys; sys.modules['torch'] = None; from rmvpe.checkpoint.store import load; load({str(path)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_the_newest_state_of_a_run_counts_unless_there_is_a_best(tmp_path):
    original = network_state(False)
    for step in (7, 11, 9):
        state.save(tmp_path, dataclasses.replace(original, step=step))
    assert load_checkpoint(tmp_path).metadata["step"] == "11"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("step", "7"),
        ("step", -1),
        ("step", True),
        ("about", {"a": 1}),
        ("scaler", []),
        ("weights", {"a": 1}),
        ("config", 3),
    ],
)
def test_a_state_with_a_field_of_another_type_is_one_sentence(field, value, tmp_path):
    path = state.save(tmp_path, network_state(False))
    content = torch.load(path, weights_only=True)
    torch.save(content | {field: value}, path)
    for read in (state.load, load_checkpoint):
        with pytest.raises(UserError, match=rf"state-00000007\.pt is damaged \(its {field} is of another type\)"):
            read(path)
