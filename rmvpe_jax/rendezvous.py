"""A roll call before several processes join: each mistake in their numbers is told in one sentence.

`jax.distributed` ends a process with a page of C++ frames when another is missing, has the same number or was told of
another number of them. So all meet here first: process 0 listens at the coordinator's address, each other process says
who it is (one line of JSON) and hears, once all are there, that it may go on, or why not.
"""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from rmvpe.errors import UserError

RETRY_S = 0.1
STRANGER_S = 5.0  # whoever connects and says nothing for so long is none of ours
LINE_BYTES = 4096


def roll_call(coordinator: str, num_processes: int, process_id: int, timeout_s: float) -> None:
    """Return when processes 0 to `num_processes` - 1 are all there; UserError if they are not within `timeout_s`."""
    host, port = address(coordinator)
    if num_processes < 1:
        raise UserError(f"--num_processes {num_processes} must be at least 1")
    if not 0 <= process_id < num_processes:
        raise UserError(
            f"--process_id {process_id} is not one of {num_processes} processes, counted from 0: choose 0 to "
            f"{num_processes - 1}"
        )
    deadline = time.monotonic() + timeout_s
    if process_id:
        answer(host, port, num_processes, process_id, deadline)
    else:
        call(port, num_processes, deadline)


def address(coordinator: str) -> tuple[str, int]:
    """HOST:PORT in its parts. Raises UserError."""
    host, colon, port = coordinator.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise UserError(f"--coordinator {coordinator} must be HOST:PORT, such as 10.0.0.1:1234")
    return host.strip("[]"), int(port)


def call(port: int, num_processes: int, deadline: float) -> None:
    """Process 0's part: wait for the others, then let all go on at the same time."""
    with ExitStack() as stack:
        listener = stack.enter_context(listening(port))
        there: dict[int, socket.socket] = {}
        while len(there) < num_processes - 1:
            listener.settimeout(max(deadline - time.monotonic(), 0.0) or RETRY_S)
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                complaint = missing(there, num_processes)
                for other in there.values():
                    say(other, {"error": complaint})
                raise UserError(complaint) from None
            stack.enter_context(connection)
            connection.settimeout(STRANGER_S)
            said = hear(connection)
            problem = refusal(said, there, num_processes)
            if problem is None:
                there[said["process_id"]] = connection
            elif said:
                say(connection, {"error": problem})
        for other in there.values():
            say(other, {"ready": num_processes})


def answer(host: str, port: int, num_processes: int, process_id: int, deadline: float) -> None:
    """The part of every other process."""
    with reaching(host, port, deadline) as connection:
        say(connection, {"process_id": process_id, "num_processes": num_processes})
        # Process 0 gives up first, and says who is missing
        connection.settimeout(max(deadline - time.monotonic(), 0.0) + STRANGER_S)
        said = hear(connection)
    if "error" in said:
        raise UserError(str(said["error"]))
    if said.get("ready") != num_processes:
        raise UserError(f"process 0 at {host}:{port} has ended: see what it told, and start all processes again")


def refusal(said: dict[str, Any], there: dict[int, socket.socket], num_processes: int) -> str | None:
    """Why a process cannot take part; None if it can."""
    number, total = said.get("process_id"), said.get("num_processes")
    if not isinstance(number, int):
        return "it did not say who it is"
    if total != num_processes:
        return (
            f"process {number} was started with --num_processes {total}, process 0 with {num_processes}: give all the "
            "same"
        )
    if number == 0 or number in there or number >= num_processes:
        return f"there is a process {number} already: give each process a --process_id of its own"
    return None


def missing(there: dict[int, socket.socket], num_processes: int) -> str:
    """Who did not come."""
    absent = [str(number) for number in range(1, num_processes) if number not in there]
    return (
        f"of {num_processes} processes, number {', '.join(absent)} did not come: start each with --process_id, the "
        "same --num_processes and the same --coordinator, an address of process 0 that the others can reach"
    )


@contextmanager
def listening(port: int) -> Iterator[socket.socket]:
    """A listening socket, on all of this machine's addresses."""
    dual = socket.has_dualstack_ipv6()
    try:
        listener = socket.create_server(
            ("", port), family=socket.AF_INET6 if dual else socket.AF_INET, dualstack_ipv6=dual
        )
    except OSError as error:
        raise UserError(f"process 0 cannot listen at port {port}: {error.strerror}; choose another port") from error
    with listener:
        yield listener


@contextmanager
def reaching(host: str, port: int, deadline: float) -> Iterator[socket.socket]:
    """A connection to process 0, which may not be there yet."""
    while True:
        left = deadline - time.monotonic()
        try:
            connection = socket.create_connection((host, port), timeout=max(left, RETRY_S))
            break
        except OSError as error:
            if left <= 0:
                raise UserError(
                    f"no process 0 at --coordinator {host}:{port} ({error.strerror or error}): start it, and give all "
                    "processes an address of it that they can reach"
                ) from error
        time.sleep(RETRY_S)
    with connection:
        yield connection


def say(connection: socket.socket, words: dict[str, Any]) -> None:
    """Send one line; whoever is gone need not hear it."""
    try:
        connection.sendall(json.dumps(words).encode() + b"\n")
    except OSError:
        return


def hear(connection: socket.socket) -> dict[str, Any]:
    """Read one line; nothing ({}) from whoever is gone, silent or none of ours."""
    try:
        with connection.makefile("rb") as lines:
            words = json.loads(lines.readline(LINE_BYTES))
    except (OSError, ValueError):
        return {}
    return words if isinstance(words, dict) else {}
