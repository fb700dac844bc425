"""The rendezvous of several processes, on loopback: a process that is missing or wrong is named in one sentence."""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import pytest

from rmvpe.errors import UserError
from rmvpe_jax.rendezvous import TOKEN_VARIABLE, join, listen, rendezvous, wait_for_processes

PATIENT_S = 120.0  # no test waits so long, unless it fails
TOKEN = "a shared secret"


@pytest.fixture
def coordinator() -> str:
    """An address of this machine at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Process 0's socket: whoever connects to it is accepted as soon as process 0 gets there."""
    with listen(0) as listener:
        yield listener


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as threads:
        yield threads


def patient() -> float:
    return PATIENT_S


def connect(listener: socket.socket) -> socket.socket:
    return socket.create_connection(("127.0.0.1", listener.getsockname()[1]), timeout=PATIENT_S)


def attend(listener: socket.socket, num_processes: int, process_id: int, token: str = TOKEN) -> str:
    """The part of a process with a number above 0; its message, "" if it went on."""
    with connect(listener) as connection:
        try:
            join(connection, num_processes, process_id, token, patient)
        except UserError as error:
            return str(error)
    return ""


def test_processes_meet_in_any_order(coordinator, threads):
    joining = [threads.submit(rendezvous, coordinator, 4, number, PATIENT_S) for number in (3, 1, 0, 2)]
    assert [future.result() for future in joining] == [None] * 4


def test_one_process_meets_nobody(coordinator):
    rendezvous(coordinator, 1, 0, timeout_s=0.0)


def test_a_missing_process_is_named_to_all(listener, threads):
    waiting = threads.submit(attend, listener, 4, 2)
    seconds_left = iter([PATIENT_S, 0.0])  # process 0 waits for the first that comes, then its time is up
    with pytest.raises(UserError, match="of 4 processes, number 1, 3 did not come: start each with") as reported:
        wait_for_processes(listener, 4, TOKEN, lambda: next(seconds_left))
    assert waiting.result() == str(reported.value)


def test_a_process_with_another_number_of_processes_is_refused_and_the_others_go_on(listener, threads):
    leader = threads.submit(wait_for_processes, listener, 2, TOKEN, patient)
    assert "process 3 was started with --num_processes 4, process 0 with 2" in attend(listener, 4, 3)
    assert attend(listener, 2, 1) == ""
    leader.result()


def test_of_two_processes_with_the_same_number_one_is_refused(listener, threads):
    leader = threads.submit(wait_for_processes, listener, 3, TOKEN, patient)
    twins: set[Future[str]] = {threads.submit(attend, listener, 3, 1) for _ in range(2)}
    refused, accepted = wait(twins, return_when=FIRST_COMPLETED)  # the other one waits for process 2
    assert [future.result() for future in refused] == [
        "there is a process 1 already: give each process a --process_id of its own"
    ]
    assert attend(listener, 3, 2) == ""
    assert [future.result() for future in accepted] == [""]
    leader.result()


@pytest.mark.parametrize("number", [0, -1, 2])
def test_a_number_beyond_the_processes_is_refused(listener, threads, number):
    leader = threads.submit(wait_for_processes, listener, 2, TOKEN, patient)
    assert f"there is a process {number} already" in attend(listener, 2, number)
    assert attend(listener, 2, 1) == ""
    leader.result()


@pytest.mark.parametrize("token", ["", "another", "a shared secret "])
def test_a_process_with_another_token_is_refused(listener, threads, token):
    leader = threads.submit(wait_for_processes, listener, 2, TOKEN, patient)
    assert f"{TOKEN_VARIABLE} is not that of process 0: set the same" in attend(listener, 2, 1, token)
    assert attend(listener, 2, 1) == ""
    leader.result()


def test_the_token_comes_from_the_environment(coordinator, threads, monkeypatch):
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    leader = threads.submit(rendezvous, coordinator, 2, 0, PATIENT_S)
    with pytest.raises(UserError, match=TOKEN_VARIABLE):
        rendezvous(coordinator, 2, 1, PATIENT_S, token="")
    rendezvous(coordinator, 2, 1, PATIENT_S)
    leader.result()


def test_the_token_is_not_sent_and_an_answer_serves_once(listener, threads):
    recorded = b""
    with socket.create_server(("127.0.0.1", 0)) as impostor:
        victim = threads.submit(attend, impostor, 2, 1)
        connection, _ = impostor.accept()
        with connection:
            connection.sendall(b'{"challenge": "0"}\n')
            recorded = connection.makefile("rb").readline()
        assert "process 0 has ended" in victim.result()
    assert TOKEN.encode() not in recorded
    leader = threads.submit(wait_for_processes, listener, 2, TOKEN, patient)
    with connect(listener) as stranger:
        stranger.sendall(recorded)
        lines = stranger.makefile("rb")
        assert "challenge" in json.loads(lines.readline())
        assert TOKEN_VARIABLE in json.loads(lines.readline())["error"]
    assert attend(listener, 2, 1) == ""
    leader.result()


NONSENSE = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"[1]\n",
    b'{"process_id": []}\n',
    b'{"proof": "\\ud800"}\n',
    b"\xff\n",
    b"",
    b"[" * 4096,
]


@pytest.mark.parametrize("words", NONSENSE, ids=range(len(NONSENSE)))
def test_strangers_do_no_harm(listener, threads, words):
    leader = threads.submit(wait_for_processes, listener, 2, TOKEN, patient)
    with connect(listener) as stranger:
        stranger.sendall(words)
    assert attend(listener, 2, 1) == ""
    leader.result()


def test_another_program_at_the_coordinators_address_is_reported(threads):
    with socket.create_server(("127.0.0.1", 0)) as server:
        joining = threads.submit(attend, server, 2, 1)
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"220 mail.example.org\r\n")
        assert "another program listens at --coordinator" in joining.result()


def test_a_port_that_is_taken_is_reported(coordinator):
    port = int(coordinator.rpartition(":")[2])
    with socket.create_server(("", port)), pytest.raises(UserError, match=r"cannot listen at port .*choose another"):
        rendezvous(coordinator, 2, 0, PATIENT_S)
