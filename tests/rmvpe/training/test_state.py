"""Choosing a state, what differs in a resumed run, and the command that continues one."""

import dataclasses
import shlex
from pathlib import Path
from typing import Any, cast

import pytest

from rmvpe.config import TrainConfig
from rmvpe.data.readers.base import Item
from rmvpe.errors import UserError
from rmvpe.training.state import RunState, changes, choose, fingerprint, resume_command
from tests.helpers.sources import MemorySource


class Names(MemorySource):
    def __init__(self, *names: str):
        self.names = names

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Item:
        raise AssertionError("names are enough")

    def name(self, index: int) -> str:
        return self.names[index]


class Store:
    def find(self, folder: Path) -> dict[int, Path]:
        return {step: folder / f"state-{step:08d}.pt" for step in (5, 20)}


@pytest.mark.parametrize("wanted", ["20", "latest", "020"])
def test_a_state_is_chosen(wanted: str):
    store: Any = Store()
    assert choose(store, Path("run"), wanted) == Path("run/state-00000020.pt")


@pytest.mark.parametrize("wanted", ["7", "9" * 5000, "0" * 5000, "-5", "5.0", "²", "٥", "", "Latest"])
def test_no_such_state(wanted: str):
    with pytest.raises(UserError, match="choose latest or one of 5, 20") as error:
        choose(cast(Any, Store()), Path("run"), wanted)
    assert len(str(error.value)) < 120


def state(config: TrainConfig, **about: str) -> RunState:
    return RunState(config, 5, 40, {}, {}, {}, {}, 5, about=about)


def test_what_differs_is_listed():
    config, data = TrainConfig(), fingerprint(Names("a", "b"))
    before = state(config, data=data, ranks="1")
    assert changes(before, config, data, 1) == []
    now = dataclasses.replace(config, learning_rate=1e-4, augment=dataclasses.replace(config.augment, tilt_db=1.0))
    assert sorted(changes(before, now, data, 2)) == [
        "augment.tilt_db is 1.0, was 12.0",
        "learning_rate is 0.0001, was 0.0005",
        "the number of ranks is 2, was 1",
    ]
    assert changes(before, config, fingerprint(Names("a", "b", "c")), 1) == ["Hybrid holds 3 items, was 2 items"]
    assert changes(before, config, fingerprint(Names("a", "c")), 1) == ["the 2 items of Hybrid have other names"]
    assert changes(before, config, fingerprint(Names("b", "a")), 1) == ["the 2 items of Hybrid have other names"]


def test_a_state_that_does_not_know_its_data_says_nothing_of_it():
    config = TrainConfig()
    assert changes(state(config), config, fingerprint(Names("a")), 3) == []


def test_the_command_can_be_pasted():
    logdir = Path("my runs/it's $HOME; rm")
    words = ["rmvpe", "train", "jax", "--logdir", str(logdir), "--resume_iteration", "latest", "--device", "cpu"]
    assert shlex.split(resume_command("jax", logdir, ["--device", "cpu"], windows=False)) == words
    assert '"my runs' in resume_command("jax", Path("my runs/a"), windows=True)


def test_names_with_any_bytes_have_a_fingerprint():
    assert fingerprint(Names("a\udcff")) != fingerprint(Names("a"))
