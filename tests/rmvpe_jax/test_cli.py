"""The flags that JAX's training script has beside the shared ones."""

import jax
import pytest

from rmvpe.cli.train import JAX
from rmvpe.config import TrainConfig
from rmvpe.errors import UserError
from rmvpe.program import Parser
from rmvpe_jax.cli import Jax, chosen

CPUS = jax.local_devices(backend="cpu")


def test_the_ports_flags_are_taken():
    flags = (
        "--device cpu --nproc_per_node 1 --batch_size 4 --resume_iteration latest --model_name E2E0 --hop_length 160"
    )
    parser = Parser()
    JAX.add_arguments(parser)
    session = Jax().processes(parser.parse_args(flags.split()), TrainConfig()).start()
    assert (session.ranks.processes, session.ranks.local) == (1, 1)
    assert session.devices == CPUS[:1]
    assert session.amp_dtype() == "bfloat16"


@pytest.mark.parametrize(
    ("device", "count", "expected"), [("cpu", None, CPUS), ("cpu", 2, CPUS[:2]), ("cpu:1", None, CPUS[1:2])]
)
def test_devices_are_all_of_a_kind_or_as_many_as_asked_for(device, count, expected):
    first = expected[0]
    assert chosen(first, device, count) == expected


@pytest.mark.parametrize("count", [0, 99])
def test_more_than_there_are_is_one_sentence(count):
    with pytest.raises(UserError, match=rf"--nproc_per_node {count} asks for devices that are not there: choose 1 to"):
        chosen(CPUS[0], "cpu", count)
