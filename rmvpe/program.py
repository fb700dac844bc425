"""Command lines: programs of one command or several, of which only the chosen one is imported.

`rmvpe`, `rmvpe train`, `rmvpe convert` and `python -m convert` are such programs. Alone they print their commands; an
unknown command is answered with the nearest known one; a wrong flag is one line. Exit code 2 for both.
"""

import argparse
import difflib
import importlib
import itertools
import logging
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from rmvpe.arguments import KNOWN_AS
from rmvpe.console import configure_logging
from rmvpe.errors import UserError, run_cli
from rmvpe.processes import wait_briefly
from rmvpe.timing import STARTED_S

# The flags of arguments that other programs call otherwise (`rmvpe.arguments`)
FLAGS = {
    "f0_min_hz": "--f0-min",
    "f0_max_hz": "--f0-max",
    "hop_s": "--hop-ms",
    "threshold": "--threshold",
    "weights": "--weights",
    "decoder": "--decoder viterbi",
    "device": "--device",
    "jobs": "--jobs",
}
# Names of other programs for flags of ours, without dashes and with "-" for "_"
OTHER_NAMES = {
    "input": "INPUT, without a flag",
    "out": "--output",
    "outdir": "--output",
    "output-dir": "--output",
    "overwrite": "--force",
    "resume": "--skip-existing",
    "verbose": "-v",
} | {name.replace("_", "-"): flag for right, flag in FLAGS.items() for name in (right, *KNOWN_AS[right][0])}


@dataclass(frozen=True)
class Command:
    """One command. `add_arguments` gives a parser its flags; `run` takes the parsed ones and returns the exit code.

    The parsed arguments also hold `argv`, the arguments as they were typed, `started_s`, when the program started by
    `time.perf_counter`, and `own_process`: whether they are this process's, which then is ours to set up; a program
    that calls `main(argv)` keeps its threads and its environment. A summary of several lines, such as a script's
    docstring, keeps its line breaks in --help.
    """

    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


@dataclass(frozen=True)
class Module:
    """A command in a module of its own, imported when it is chosen.

    The module has `SUMMARY`, `add_arguments` and `run`, or with `group` a `GROUP`.
    """

    summary: str
    name: str
    group: bool = False


@dataclass(frozen=True)
class Group:
    """Several commands under one name. "{program}" in `epilog` stands for the name of the program."""

    summary: str
    commands: Mapping[str, "Command | Module"]
    epilog: str = ""
    add_options: Callable[[argparse.ArgumentParser], None] = field(default=lambda parser: None)


class Parser(argparse.ArgumentParser):
    """Reports a wrong command line in one sentence."""

    def error(self, message: str) -> NoReturn:
        """Raise UserError."""
        raise UserError(f"{message}; {self.advice(message)}see {self.prog} --help")

    def advice(self, message: str) -> str:
        """What to write instead of the first unknown flag that argparse's message names; "" if nothing is near."""
        flag = re.search(r"unrecognized arguments:.*?(?<!\S)(--?[A-Za-z][\w-]*)", message)
        if flag is None:
            return ""
        known = OTHER_NAMES.get(flag[1].strip("-").replace("_", "-").lower())
        if known is None or (known.startswith("-") and known.split()[0] not in self._option_string_actions):
            long = [name for name in self._option_string_actions if name.startswith("--")]
            known = next(iter(difflib.get_close_matches(flag[1].replace("_", "-").lower(), long, n=1)), None)
        return "" if known is None else f"did you mean {known}? "

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As argparse, but a flag of one dash is never shortened: -lrd must not become --logdir rd."""
        own = [] if self._subparsers else args or ()  # what follows the name of a command is that command's
        for given in itertools.takewhile(lambda text: text != "--", own):
            flag = given.partition("=")[0]
            if re.match(r"-[A-Za-z]", flag) and flag not in self._option_string_actions:
                near = difflib.get_close_matches(flag, self._option_string_actions, n=1)
                self.error(f"there is no flag {flag}" + (f": did you mean {near[0]}?" if near else ""))
        return super().parse_known_args(args, namespace)


def run_program(program: str, entry: Command | Group, argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (by default this process's) and return the exit code.

    `program` is the name in messages. --help and --version exit with SystemExit, as argparse does.
    """
    own_process = argv is None
    if own_process:
        wait_briefly()
    return run_given(program, entry, list(sys.argv[1:] if argv is None else argv), own_process)


def run_given(program: str, entry: Command | Group, given: list[str], own_process: bool) -> int:
    """As `run_program`; `own_process`: as in `Command`."""

    def run() -> int:
        if isinstance(entry, Group) and given and not given[0].startswith("-"):
            return run_given(f"{program} {given[0]}", chosen(entry, given[0]), given[1:], own_process)
        return run_entry(program, entry, given, own_process)

    return run_cli(program, run, debug="--debug" in given)


def run_entry(program: str, entry: Command | Group, argv: list[str], own_process: bool = False) -> int:
    """Parse `argv` and run the command; of a group, print the commands. Raises UserError."""
    if isinstance(entry, Group):
        parser = overview(program, entry)
        parser.parse_args(argv)
        parser.print_help()
        return 0
    parser = Parser(prog=program, description=entry.summary, formatter_class=formatter(entry.summary))
    entry.add_arguments(parser)
    add_common_arguments(parser)
    arguments = parser.parse_args(argv)
    arguments.argv, arguments.started_s, arguments.own_process = argv, STARTED_S, own_process
    configure_logging(program, log_level(arguments.verbose, arguments.quiet))
    return entry.run(arguments)


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """-v, -q and --debug, which every command has."""
    group = parser.add_argument_group("messages")
    text = "say more on stderr; twice: everything, for developers"
    group.add_argument("-v", "--verbose", action="count", default=0, help=text)
    group.add_argument("-q", "--quiet", action="store_true", help="errors only, and no bar")
    group.add_argument("--debug", action="store_true", help="print the traceback of every error")


def log_level(verbose: int, quiet: bool) -> int:
    """The level from which records of the logger `rmvpe` are shown."""
    if quiet:
        return logging.ERROR
    return (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]


def formatter(text: str) -> type[argparse.HelpFormatter]:
    """How --help prints a description: wrapped, or as it is if it has several lines."""
    return argparse.RawDescriptionHelpFormatter if "\n" in text else argparse.HelpFormatter


def chosen(group: Group, name: str) -> Command | Group:
    """The command called `name`. Raises UserError for an unknown one, which suggests the nearest."""
    if name not in group.commands:
        near = difflib.get_close_matches(name.lower(), group.commands, n=1, cutoff=0.5)
        advice = f"did you mean {near[0]!r}?" if near else f"choose {', '.join(group.commands)}"
        raise UserError(f"there is no command {name!r}: {advice}")
    return loaded(group.commands[name])


def loaded(entry: Command | Module) -> Command | Group:
    """The command or group itself, its module imported. Raises UserError where that is hidden by another one."""
    if not isinstance(entry, Module):
        return entry
    module = importlib.import_module(entry.name)
    return module.GROUP if entry.group else Command(module.SUMMARY, module.add_arguments, module.run)


def overview(program: str, group: Group) -> Parser:
    """The parser of a group's own options, whose help lists the commands. It imports none of them."""
    width = max(map(len, group.commands)) + 2
    listing = "\n".join(f"{name:<{width}}{entry.summary}" for name, entry in group.commands.items())
    parser = Parser(
        prog=program,
        usage="%(prog)s [OPTION] COMMAND ...",
        description=group.summary,
        epilog=group.epilog.format(program=program),
        formatter_class=argparse.RawDescriptionHelpFormatter,  # keeps the lines of the listing and the examples
    )
    parser.add_argument_group("commands", listing)
    group.add_options(parser)
    return parser


def whole_parser(program: str, group: Group) -> Parser:
    """One parser with all commands and all their flags: what a shell needs to complete them."""
    parser = Parser(prog=program, description=group.summary)
    group.add_options(parser)
    commands = parser.add_subparsers(metavar="COMMAND", parser_class=Parser)
    for name, row in group.commands.items():
        add_whole(commands, name, row)
    return parser


def add_whole(commands: "argparse._SubParsersAction[Parser]", name: str, row: Command | Module) -> None:
    """Add one command, or a group with all of its own."""
    entry = loaded(row)
    parser = commands.add_parser(name, help=row.summary, description=entry.summary)
    if isinstance(entry, Command):
        entry.add_arguments(parser)
        add_common_arguments(parser)
        return
    below = parser.add_subparsers(metavar="COMMAND", parser_class=Parser)
    for inner, inner_row in entry.commands.items():
        add_whole(below, inner, inner_row)
