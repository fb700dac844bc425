"""How a program ends: one line for a user's mistake, a traceback for a bug, and the same exit code for everyone."""

import errno

import pytest

import rmvpe
from rmvpe.config_check import ConfigError
from rmvpe.errors import UserError, exit_code, run_cli

MISTAKES = [
    UserError("song.wav is empty: give another"),
    ConfigError("unknown key 'hop'"),
    FileNotFoundError(errno.ENOENT, "No such file or directory", "gone.wav"),
    OSError(errno.ENOSPC, "No space left on device", "f0.csv"),
]
BUGS = [ZeroDivisionError("division by zero"), ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")]


def fail(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("error", MISTAKES, ids=lambda error: type(error).__name__)
def test_a_users_mistake_is_one_line_and_exit_code_2(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli("program", lambda: fail(error)) == exit_code(error) == 2
    message = capsys.readouterr().err
    assert message.startswith("program: ")
    assert message.count("\n") == 1


@pytest.mark.parametrize("error", BUGS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("debug", [False, True])
def test_a_bug_is_one_line_and_with_debug_a_traceback(
    error: Exception, debug: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli("program", lambda: fail(error), debug=debug) == exit_code(error) == 1
    said = capsys.readouterr().err
    last = (
        f"program: this is a bug in rmvpe: {type(error).__name__}: {error}; run it again with --debug and report it\n"
    )
    assert said.endswith(last)
    assert said.startswith("Traceback") == debug
    assert (said == last) != debug


def test_ctrl_c_is_exit_code_130() -> None:
    assert run_cli("program", lambda: fail(KeyboardInterrupt())) == exit_code(KeyboardInterrupt()) == 130


def test_without_an_error_the_function_gives_the_exit_code() -> None:
    assert run_cli("program", lambda: None) == 0
    assert run_cli("program", lambda: 1) == 1


def test_a_wrong_setting_is_a_users_mistake_too() -> None:
    assert issubclass(rmvpe.ConfigError, rmvpe.UserError)
    assert issubclass(rmvpe.UserError, ValueError)


def test_a_name_in_a_message_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    name = "\x1b]0;owned\x07\x9b2J\u202egnp.wav caf\udce9"
    assert run_cli("program", lambda: fail(UserError(f"{name} is empty"))) == 2
    assert capsys.readouterr().err == r"program: \x1b]0;owned\x07\x9b2J\u202egnp.wav caf\xe9 is empty" + "\n"
