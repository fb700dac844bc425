"""Training states as Orbax folders: whole or absent, the same bits back, one sentence for damage and full disks."""

import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("orbax.checkpoint")

from rmvpe.checkpoint.architecture import expected_tensors
from rmvpe.errors import UserError
from rmvpe.training.state import RunState, StateStore, choose, prune
from rmvpe_jax import checkpoint, state
from rmvpe_jax.params import ConversionError
from tests.helpers.tiny_jax import CONFIG, MODEL

TENSORS = ("weights", "average", "first_moment", "second_moment", "generators")


def make(step: int = 10, averaged: bool = True) -> RunState:
    """A state of random numbers, the same for the same step."""
    rng = np.random.default_rng(step)
    shapes = expected_tensors(MODEL)
    trained = [name for name in shapes if not name.endswith(("running_mean", "running_var"))]

    def draw(names) -> dict[str, np.ndarray]:
        return {name: rng.standard_normal(shapes[name]).astype(np.float32) for name in names}

    return RunState(
        config=dataclasses.replace(CONFIG, ema_decay=0.5 if averaged else 0.0, learning_rate=1 / 3),
        step=step,
        examples=2**40,
        weights=draw(shapes),
        average=draw(shapes) if averaged else {},
        first_moment=draw(trained),
        second_moment=draw(trained),
        updates=step - 1,
        generators={"fc.2.rngs.key.value": np.array([1, 2**32 - 1], np.uint32), "count": np.array(7, np.uint32)},
        scaler={"scale": 0.1},
        about={"framework": "jax", "git_commit": "0123", "best_rpa": "0.5"},
    )


def assert_same(found: RunState, expected: RunState) -> None:
    for field in TENSORS:
        a, b = getattr(found, field), getattr(expected, field)
        assert set(a) == set(b), field
        for name in b:
            assert (a[name].dtype, a[name].shape) == (b[name].dtype, b[name].shape), (field, name)
            assert a[name].tobytes() == b[name].tobytes(), (field, name)
    empty: dict[str, Any] = {field: {} for field in TENSORS}
    assert dataclasses.replace(found, **empty) == dataclasses.replace(expected, **empty)


@pytest.mark.parametrize("averaged", [True, False])
def test_a_state_comes_back_to_the_bit(tmp_path, averaged):
    store: StateStore = state
    written = make(averaged=averaged)
    path = store.save(tmp_path / "run", written)
    assert path == tmp_path / "run" / "state-00000010"
    assert_same(store.load(path), written)
    assert os.listdir(tmp_path / "run") == ["state-00000010"]  # nothing temporary is left


def test_a_folder_may_be_named_from_where_one_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written = make()
    state.save(Path("run"), written)
    assert_same(state.load(state.find(Path("run"))[10]), written)


def test_a_state_without_what_its_framework_alone_knows(tmp_path):
    written = make().without_framework()
    assert_same(state.load(state.save(tmp_path, written)), written)


def test_a_state_is_a_checkpoint_of_the_weights_to_predict_with(tmp_path):
    written = make()
    state.save(tmp_path, make(3))
    state.save(tmp_path, written)
    found = checkpoint.load(tmp_path)
    assert found.config == MODEL
    assert found.metadata["step"] == "10"
    for name, array in written.average.items():
        np.testing.assert_array_equal(found.tensors[name], array, err_msg=name)


def test_half_written_states_are_not_found_and_are_cleared_away(tmp_path):
    whole = state.save(tmp_path, make(3))
    # What a process leaves that is killed while Orbax writes, while it renames, and while an old state is removed
    for name in ("state-00000007.orbax-checkpoint-tmp", ".state-00000008-abcdef", ".state-00000009-removed"):
        (tmp_path / name / "weights").mkdir(parents=True)
        (tmp_path / name / "about").mkdir()
    (tmp_path / "state-00000005").mkdir()  # none of ours
    (tmp_path / "state-00000006").write_text("a file")
    assert state.find(tmp_path) == {3: whole}
    assert state.find(tmp_path / "nothing") == {}
    later = state.save(tmp_path, make(10))
    assert state.find(tmp_path) == {3: whole, 10: later}
    assert not list(tmp_path.glob(".state-*"))


def test_states_are_replaced_chosen_and_pruned(tmp_path):
    for step in (1, 2, 10, 300):
        state.save(tmp_path, make(step))
    newer = dataclasses.replace(make(10), about={"framework": "torch"})
    assert_same(state.load(state.save(tmp_path, newer)), newer)
    assert choose(state, tmp_path, "latest").name == "state-00000300"
    prune(state, tmp_path, keep=2, best=1)
    assert list(state.find(tmp_path)) == [1, 10, 300]
    state.remove(tmp_path / "state-00000010")
    assert sorted(os.listdir(tmp_path)) == ["state-00000001", "state-00000300"]


@pytest.mark.parametrize("item", ["weights", "raw", "adam_mu", "random", "run"])
@pytest.mark.parametrize("harm", ["cut", "lost"])
def test_a_damaged_state_is_told_in_a_sentence(tmp_path, item, harm, capfd):
    path = state.save(tmp_path, make())
    files = [file for file in (path / item).rglob("*") if file.is_file()]
    for file in files:
        if harm == "cut":
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        else:
            file.unlink()
    with pytest.raises(UserError, match=r"state-00000010 ((is truncated or damaged|cannot be read)|lacks)"):
        state.load(path)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("item", ["raw", "adam_nu"])
def test_a_state_that_lacks_an_item_is_told(tmp_path, item):
    path = state.save(tmp_path, make())
    shutil.rmtree(path / item)
    with pytest.raises(UserError, match=f"(is truncated or damaged|cannot be read).*{item} has no manifest"):
        state.load(path)


def test_what_is_no_state_is_told(tmp_path):
    with pytest.raises(UserError, match="nowhere does not exist: give the --logdir"):
        state.load(tmp_path / "nowhere")
    checkpoint.save(tmp_path / "weights", make().weights, MODEL, {})
    with pytest.raises(UserError, match="is not a training state of this version of rmvpe: start from"):
        state.load(tmp_path / "weights")
    path = state.save(tmp_path, make())
    run = path / "run" / "metadata"
    content = json.loads(run.read_text())
    run.write_text(json.dumps(content | {"format": "rmvpe-state-9"}))
    with pytest.raises(UserError, match="is not a training state of this version"):
        state.load(path)
    content["config"]["colour"] = "red"
    run.write_text(json.dumps(content))
    with pytest.raises(UserError, match="unknown setting colour"):
        state.load(path)


def test_a_full_disk_is_told_and_the_earlier_state_stays(tmp_path, capfd):
    resource = pytest.importorskip("resource")
    earlier = make(3)
    path = state.save(tmp_path, earlier)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # A limit on a file's size stands for a disk without room: both make a write fail (Python ignores SIGXFSZ)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(UserError, match=r"cannot write .*state-00000010: .*; free some space or choose another"):
            state.save(tmp_path, make(10))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "Traceback" not in capfd.readouterr().err
    assert os.listdir(tmp_path) == [path.name]
    assert_same(state.load(path), earlier)


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(
        UserError, match=r"cannot write .*: Not a directory; free some space or choose another --logdir"
    ):
        state.save(tmp_path / "file" / "run", make())


def test_moments_of_other_parameters_are_not_written(tmp_path):
    broken = make()
    with pytest.raises(ConversionError, match="running_mean is unexpected"):
        state.save(tmp_path, dataclasses.replace(broken, first_moment=broken.weights))
    assert not any(path for path in Path(tmp_path).iterdir())


@pytest.mark.parametrize("averaged", [True, False])
def test_a_state_and_its_run_are_taken_as_weights(averaged, tmp_path):
    from rmvpe.checkpoint.store import load

    written = make(averaged=averaged)
    path = state.save(tmp_path, dataclasses.replace(written, about={"threshold": "0.24", "calibration": "1.5,-0.5"}))
    state.save(tmp_path, dataclasses.replace(written, step=9))
    for place in (path, tmp_path):
        found = load(place)
        assert found.config == MODEL
        assert (found.threshold, found.calibration) == (0.24, (1.5, -0.5))
        assert found.metadata["step"] == "10"
        for name, tensor in written.published.items():
            np.testing.assert_array_equal(found.tensors[name], tensor)


@pytest.mark.parametrize("item", ["weights", "adam_mu", "raw", "random"])
def test_other_numbers_in_an_item_are_noticed(item, tmp_path):
    """As after a flipped bit that the compression does not notice: the folder is sound, its content another one."""
    path = state.save(tmp_path / "run", make())
    other = state.save(tmp_path / "other", make(step=11))
    shutil.rmtree(path / item)
    shutil.copytree(other / item, path / item)
    if item == "random":  # the same in every state made here
        assert_same(state.load(path), make())
        return
    with pytest.raises(UserError, match=r"has changed since it was written.*content_hash"):
        state.load(path)


def test_another_threshold_in_the_metadata_is_noticed(tmp_path):
    path = state.save(tmp_path, dataclasses.replace(make(), about={"threshold": "0.24"}))
    table = path / "about" / "metadata"
    table.write_text(table.read_text().replace("0.24", "0.64"))
    with pytest.raises(UserError, match=r"has changed since it was written.*content_hash"):
        checkpoint.load(path)


def test_a_folder_without_hash_loads_as_before(tmp_path):
    path = state.save(tmp_path, make())
    for item in ("about", "run"):
        table = json.loads((path / item / "metadata").read_text())
        del table["content_hash"]
        (path / item / "metadata").write_text(json.dumps(table))
    assert_same(state.load(path), make())


def test_an_array_that_asks_for_terabytes_is_one_sentence(tmp_path):
    """Orbax would reserve the memory that the description of an array asks for."""
    import tensorstore

    path = state.save(tmp_path, make())
    base = {"driver": "file", "path": f"{path.as_posix()}/weights/"}
    records = tensorstore.KvStore.open({"driver": "ocdbt", "base": base}).result()
    about = json.loads(bytes(records.read(b"cnn.bias/.zarray").result().value))
    records.write(b"cnn.bias/.zarray", json.dumps(about | {"shape": [1 << 40]}).encode()).result()
    with pytest.raises(UserError, match=r"state-00000010 .*describes arrays of .* bytes"):
        checkpoint.load(path)
