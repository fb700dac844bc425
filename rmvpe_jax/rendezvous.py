"""Several processes meet here before `jax.distributed` joins them, so that their mistakes are reported.

`jax.distributed.initialize` cannot report one. It ends the process by abort (exit code 134, a page of C++ frames) when
another process is missing, when two have the same number or when a number is too high, and it takes no notice when some
were given another number of processes (measured with JAX 0.10.2).

Process 0 listens at the coordinator's port. Each other process connects, proves that it has the same token (HMAC-SHA256
of a random challenge, RFC 2104: the token itself is not sent), gives its number, and waits until all are there. The
token is the environment variable RMVPE_RENDEZVOUS_TOKEN, empty by default. It keeps strangers and the processes of
another run out of the rendezvous, no more: afterwards `jax.distributed` listens at the same port and asks for no token,
so the port must not be reachable from outside a trusted network.
"""

import hmac
import json
import os
import secrets
import socket
import time
from collections.abc import Callable, Container
from contextlib import ExitStack
from typing import Any

from rmvpe.errors import UserError

TOKEN_VARIABLE = "RMVPE_RENDEZVOUS_TOKEN"
RETRY_S = 0.1
HANDSHAKE_TIMEOUT_S = 5.0  # for the first message of whoever connects
MAX_MESSAGE_BYTES = 4096

TimeLeft = Callable[[], float]  # seconds until this process gives up


def rendezvous(
    coordinator: str, num_processes: int, process_id: int, timeout_s: float, token: str | None = None
) -> None:
    """Return when processes 0 to `num_processes` - 1 are all there; UserError if they are not within `timeout_s`.

    `coordinator` is HOST:PORT of process 0; `token` None takes that of the environment.
    """
    host, port = parse_address(coordinator)
    if num_processes < 1:
        raise UserError(f"--num_processes {num_processes} must be at least 1")
    if not 0 <= process_id < num_processes:
        raise UserError(
            f"--process_id {process_id} is not one of {num_processes} processes, counted from 0: choose 0 to "
            f"{num_processes - 1}"
        )
    token = os.environ.get(TOKEN_VARIABLE, "") if token is None else token
    deadline = time.monotonic() + timeout_s

    def time_left() -> float:
        return max(deadline - time.monotonic(), 0.0)

    if process_id == 0:
        with listen(port) as listener:
            wait_for_processes(listener, num_processes, token, time_left)
    else:
        with connect(host, port, time_left) as connection:
            join(connection, num_processes, process_id, token, time_left)


def parse_address(coordinator: str) -> tuple[str, int]:
    """HOST:PORT as host and port. Raises UserError."""
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise UserError(f"--coordinator {coordinator} must be HOST:PORT, such as 10.0.0.1:1234")
    return host.strip("[]"), int(port)


def wait_for_processes(listener: socket.socket, num_processes: int, token: str, time_left: TimeLeft) -> None:
    """Process 0's part: wait for all others, then let them go on at the same time.

    A process that cannot take part gets the reason; the wait goes on. Raises UserError if one is missing in the end.
    """
    joined: dict[int, socket.socket] = {}
    with ExitStack() as stack:
        while len(joined) < num_processes - 1:
            listener.settimeout(time_left() or RETRY_S)
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                message = missing_processes(joined, num_processes)
                for other in joined.values():
                    send(other, {"error": message})
                raise UserError(message) from None
            stack.enter_context(connection)
            connection.settimeout(HANDSHAKE_TIMEOUT_S)
            challenge = secrets.token_hex()
            send(connection, {"challenge": challenge})
            request = receive(connection)
            problem = rejection(request, challenge, token, joined, num_processes)
            if problem is None:
                joined[request["process_id"]] = connection
            else:
                send(connection, {"error": problem})
        for other in joined.values():
            send(other, {"ready": num_processes})


def join(connection: socket.socket, num_processes: int, process_id: int, token: str, time_left: TimeLeft) -> None:
    """The part of every other process. Raises UserError if it cannot take part or a process is missing."""
    connection.settimeout(time_left() + HANDSHAKE_TIMEOUT_S)  # process 0 gives up first and names who is missing
    greeting, reply = receive(connection), {}
    if "challenge" in greeting:
        request = {"process_id": process_id, "num_processes": num_processes}
        send(connection, request | {"proof": proof(token, greeting["challenge"], process_id, num_processes)})
        reply = receive(connection)
    if "error" in reply:
        raise UserError(str(reply["error"]))
    if reply.get("ready") != num_processes:
        raise UserError(
            "process 0 has ended, or another program listens at --coordinator: see the message of process 0, then "
            "start all processes again"
        )


def rejection(
    request: dict[str, Any], challenge: str, token: str, joined: Container[int], num_processes: int
) -> str | None:
    """Why the process that sent `request` cannot take part; None if it can."""
    number, total = request.get("process_id"), request.get("num_processes")
    claimed = str(request.get("proof")).encode(errors="replace")
    if not hmac.compare_digest(claimed, proof(token, challenge, number, total).encode()):
        return f"{TOKEN_VARIABLE} is not that of process 0: set the same for all processes, or for none"
    if total != num_processes:
        return (
            f"process {number} was started with --num_processes {total}, process 0 with {num_processes}: give all the "
            "same"
        )
    if number not in range(1, num_processes) or number in joined:
        return f"there is a process {number} already: give each process a --process_id of its own"
    return None


def proof(token: str, challenge: object, process_id: object, num_processes: object) -> str:
    """What only a process that has the token can answer to a challenge."""
    facts = json.dumps([challenge, process_id, num_processes])
    return hmac.new(token.encode(errors="surrogateescape"), facts.encode(), "sha256").hexdigest()


def missing_processes(joined: Container[int], num_processes: int) -> str:
    """The message that names the processes that have not come."""
    numbers = ", ".join(str(number) for number in range(1, num_processes) if number not in joined)
    return (
        f"of {num_processes} processes, number {numbers} did not come: start each with --process_id, the same "
        "--num_processes and the same --coordinator, an address of process 0 that the others can reach"
    )


def listen(port: int) -> socket.socket:
    """A socket that listens on all addresses of this machine, as that of `jax.distributed` does afterwards."""
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    try:
        return socket.create_server(("", port), family=family, dualstack_ipv6=dual)
    except OSError as error:
        raise UserError(f"process 0 cannot listen at port {port}: {error.strerror}; choose another port") from error


def connect(host: str, port: int, time_left: TimeLeft) -> socket.socket:
    """A connection to process 0, which may start later than this one."""
    while True:
        left = time_left()
        try:
            return socket.create_connection((host, port), timeout=left or RETRY_S)
        except OSError as error:
            if not left:
                raise UserError(
                    f"no process 0 at --coordinator {host}:{port} ({error.strerror or error}): start it, and give all "
                    "processes an address of it that they can reach"
                ) from error
        time.sleep(RETRY_S)


def send(connection: socket.socket, message: dict[str, Any]) -> None:
    """Send one line of JSON. If the other side is gone, nothing happens."""
    try:
        connection.sendall(json.dumps(message).encode() + b"\n")
    except OSError:
        return


def receive(connection: socket.socket) -> dict[str, Any]:
    """Read one line of JSON; {} if the other side is gone, silent or none of ours."""
    try:
        with connection.makefile("rb") as lines:
            message = json.loads(lines.readline(MAX_MESSAGE_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}
