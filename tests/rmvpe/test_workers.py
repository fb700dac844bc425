"""Tasks in several processes: every task has its answer, whatever becomes of the processes."""

import logging
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rmvpe import workers
from rmvpe.errors import UserError
from rmvpe.leftovers import is_running
from rmvpe.workers import Event, Workers, checked_jobs, in_order, threads_each
from tests.helpers import tasks
from tests.helpers.paths import ROOT
from tests.helpers.tasks import Task, open_work, wait_until

needs_kill = pytest.mark.skipif(sys.platform == "win32", reason="a process there cannot kill itself with SIGKILL")
SEVERAL: list[Task] = [("double", number) for number in range(7)]


def run(given: list[Task], opening: Callable[[], Any] = open_work, count: int = 2) -> list[Event]:
    return list(Workers(opening, count).run(given))


def answers(events: list[Event]) -> dict[int, Any]:
    return {event.index: event.value for event in events if event.kind == "done"}


def sentences(events: list[Event]) -> list[str]:
    return [event.value for event in events if event.kind == "lost"]


def test_each_task_has_its_answer():
    events = run(SEVERAL)
    assert answers(events) == {number: 2 * number for number in range(7)}
    assert Counter(event.kind for event in events) == {"ready": 1, "started": 7, "reported": 7, "done": 7}
    assert [event.value for event in events if event.kind == "reported" and event.index == 3] == ["doubling 3"]


def test_without_tasks_nothing_happens():
    assert [event.kind for event in run([])] == []


@pytest.mark.parametrize("error", [UserError("too loud"), MemoryError(), ZeroDivisionError("division by zero")])
def test_an_exception_stays_with_its_task(error: Exception):
    events = run([("double", 1), ("raise", error), ("double", 3)])
    assert answers(events) == {0: 2, 2: 6}
    (failed,) = (event for event in events if event.kind == "failed")
    assert (failed.index, type(failed.value), str(failed.value)) == (1, type(error), str(error))
    assert "tasks.py" in str(failed.value.__cause__)  # where it was raised


def test_an_exception_that_cannot_be_sent_is_told():
    (failed,) = (event.value for event in run([("raise odd", None)]) if event.kind == "failed")
    assert "Odd: one two" in str(failed)


@needs_kill
def test_the_task_of_a_killed_worker_is_done_again(tmp_path: Path):
    events = run([*SEVERAL, ("die once", tmp_path / "marker"), *SEVERAL])
    assert len(answers(events)) == 15
    assert answers(events)[7] == "survived"
    (sentence,) = sentences(events)
    assert "marker" in sentence
    assert "SIGKILL" in sentence


@needs_kill
def test_a_task_that_always_kills_fails_and_is_named():
    events = run([*SEVERAL, ("die", "song.wav"), *SEVERAL])
    assert len(answers(events)) == 14
    (failed,) = (event for event in events if event.kind == "failed")
    assert failed.index == 7
    assert isinstance(failed.value, UserError)
    assert "song.wav" in str(failed.value)
    assert len(sentences(events)) == 1


@needs_kill
def test_a_worker_that_is_killed_while_it_waits_is_replaced():
    events: list[Event] = []
    for event in Workers(open_work, 2).run(SEVERAL):
        events.append(event)
        if event.kind == "ready":
            os.kill(event.value, signal.SIGKILL)
    assert len(answers(events)) == 7
    assert len(sentences(events)) == 1


@needs_kill
def test_workers_that_do_not_start(tmp_path: Path):
    with pytest.raises(UserError, match=r"SIGKILL .* while it was starting"):
        run(SEVERAL, tasks.open_and_die)
    events: list[Event] = []
    others = Workers(partial(tasks.open_but_one, tmp_path / "marker"), 2)
    # The last task waits for the end of one of the two: the other one may be much faster
    for event in others.run(SEVERAL, lambda index: index < 6 or bool(sentences(events))):
        events.append(event)
    assert len(answers(events)) == 7
    assert len(sentences(events)) == 1


def test_what_the_opening_raises_is_raised():
    with pytest.raises(UserError, match="no such weights"):
        run(SEVERAL, partial(tasks.open_and_raise, UserError("no such weights")))
    with pytest.raises(MemoryError):
        run(SEVERAL, partial(tasks.open_and_raise, MemoryError()))


def test_what_cannot_be_sent_to_another_process_is_refused():
    with pytest.raises(UserError, match="in a module"):
        run(SEVERAL, lambda: open_work())


def test_a_packed_program_is_not_started_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with pytest.raises(UserError, match="use one job"):
        run(SEVERAL)


def test_without_a_python_to_start(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(UserError, match="cannot be started"):
        run(SEVERAL)


def test_answers_in_order_with_few_begun(tmp_path: Path):
    """The first task ends when the last one that may begin before it is done; no further task is asked for by then."""
    begun: list[int] = []

    def given() -> Iterator[Task]:
        yield "wait for", tmp_path / "3"
        for number in range(1, 20):
            begun.append(number)
            yield "touch", tmp_path / str(number)

    found = in_order(Workers(open_work, 2), given(), ahead=4)
    assert next(found)[0] == ("wait for", tmp_path / "3")
    assert max(begun) <= 5  # one is ready to be handed out, and one more may follow the first
    assert not (tmp_path / "5").exists()
    assert [Path(value).name for (_, value), _, _ in found] == [str(number) for number in range(1, 20)]


def test_leaving_early_ends_the_processes():
    events = Workers(open_work, 2).run([("double", 1), ("double", 2), ("wait for", "/nowhere"), ("double", 3)])
    process = next(event.value for event in events if event.kind == "ready")
    assert is_running(process)
    events.close()
    assert not is_running(process)


@needs_kill
def test_workers_end_with_the_process_that_started_them(tmp_path: Path):
    """It is killed while they compute, and can tell them nothing."""
    code = """
from rmvpe.workers import Workers
from tests.helpers.tasks import open_work
for event in Workers(open_work, 2).run([("double", 1), ("wait for", "/nowhere"), ("wait for", "/nowhere")]):
    if event.kind == "ready":
        print(event.value, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
        assert parent.stdout is not None
        process = int(parent.stdout.readline())
        assert is_running(process)
        parent.kill()
    wait_until(lambda: not is_running(process) or is_defunct(process))


def is_defunct(process: int) -> bool:
    """Whether a process has ended and nobody has asked for its exit code, as in a container without an init."""
    status = Path(f"/proc/{process}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_script_needs_no_guard(tmp_path: Path):
    """A worker does not run the script again."""
    script = tmp_path / "script.py"
    script.write_text(f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from rmvpe.workers import Workers
from tests.helpers.tasks import open_work
print([event.value for event in Workers(open_work, 2).run([("double", 4)]) if event.kind == "done"])
""")
    run = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("[8]\n", "")


def test_records_come_to_the_log_of_this_process(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING, "rmvpe"):
        run([("log", "ends early")])
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [("WARNING", "ends early")]


def test_threads_are_shared_and_the_environment_here_stays(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(workers, "cpus_of_this_process", lambda: 8)
    monkeypatch.setattr(workers, "physical_cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [threads_each(count) for count in (1, 2, 3, 8, 20)] == [8, 4, 2, 1, 1]
    before = dict(os.environ)
    assert answers(run([("variable", "OMP_NUM_THREADS")], count=3)) == {0: "2"}
    assert dict(os.environ) == before
    assert answers(run([("variable", "XLA_PYTHON_CLIENT_PREALLOCATE")])) == {0: "false"}  # of a GPU that they share
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "true")
    assert answers(run([("variable", "XLA_PYTHON_CLIENT_PREALLOCATE")])) == {0: "true"}  # as the user wishes
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert [threads_each(count) for count in (2, 4)] == [3, 2]
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert threads_each(2) == 4


def test_threads_that_are_given_are_those_of_each_worker():
    events = list(Workers(open_work, 2, threads=5).run([("variable", "OMP_NUM_THREADS")]))
    assert answers(events) == {0: "5"}


def test_jobs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(workers, "cpus_of_this_process", lambda: 3)
    monkeypatch.setattr(workers, "physical_cores", lambda: 3)
    assert [checked_jobs(jobs) for jobs in (1, 12, "auto")] == [1, 12, 3]
    assert checked_jobs("auto", on_cpu=False) == 1
    assert checked_jobs(5, on_cpu=False) == 5
    for jobs in (0, -1, 1.0, True, None, "2", "all"):
        with pytest.raises(UserError, match="jobs must be a whole number from 1, or auto"):
            checked_jobs(jobs)
    with pytest.raises(UserError, match="at most 12"):
        checked_jobs(13)


def test_a_worker_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(workers, "STOP_S", 0.1)
    events = Workers(open_work, 1).run([("ignore", "SIGTERM")])
    process = next(event.value for event in events if event.kind == "reported")
    events.close()
    assert not is_running(process)
