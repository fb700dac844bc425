"""Commands of `rmvpe` with a stand-in for the network."""

from collections.abc import Callable
from functools import partial
from types import ModuleType

from rmvpe.estimator import Estimator
from rmvpe.program import Command, run_program


def command_with(module: ModuleType, load: Callable[[str, str, str], Estimator]) -> Callable[..., int]:
    """The command of `module` as a function of its arguments; `load` gives its estimator."""
    command = Command(module.SUMMARY, module.add_arguments, partial(module.run, load=load))
    name = module.__name__.rpartition(".")[2]
    return lambda *arguments: run_program(f"rmvpe {name}", command, list(map(str, arguments)))
