"""Runs cases in worker processes and watches over them: time, memory, and whether the process lives.

A worker reads one line per case and answers with one line of JSON (`tests.fuzz.worker`). A case that takes too long or
too much memory is ended with its process, and a new one takes over.
"""

import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

START_S = 120.0  # until a worker has imported what it needs
SAMPLE_S = 0.05  # between two looks at the memory


@dataclass(frozen=True)
class Finding:
    """What was wrong with a case."""

    target: str
    index: int
    what: str


class Worker:
    """A process that works on one case at a time."""

    def __init__(self, target: str, seed: int, folder: Path) -> None:
        self.target, self.seed, self.folder = target, seed, folder
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "tests.fuzz.worker", target, str(seed)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1", "TMPDIR": str(folder)}
        self.errors = (folder / "stderr").open("wb")
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, env=environment
        )
        fault = self.answer(START_S, 1 << 50)
        if fault:
            raise RuntimeError(f"the worker of {target} does not start: {fault}")

    def ask(self, index: int) -> None:
        """Start case `index`."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{index}\n".encode())
        self.process.stdin.flush()

    def answer(self, limit_s: float, limit_bytes: int) -> str:
        """Wait for the answer; returns what was wrong, "" if nothing. The process is dead after most faults."""
        assert self.process.stdout is not None
        end = time.monotonic() + limit_s
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while not selector.select(SAMPLE_S):
                if time.monotonic() > end:
                    return self._kill(f"took longer than {limit_s:.0f} s")
                if self.resident_bytes() > limit_bytes:
                    return self._kill(f"took more than {limit_bytes / 2**30:.1f} GB")
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            tail = (self.folder / "stderr").read_text(errors="replace")[-1500:]
            return f"the process ended with code {self.process.returncode}: {tail}"
        found = json.loads(line)
        if found.get("peak", 0) > limit_bytes:
            return f"took {found['peak'] / 2**30:.1f} GB"
        return str(found["fault"])

    def resident_bytes(self) -> int:
        """Memory of the process and of those that it started, such as ffmpeg."""
        pages = 0
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        try:
            for process in (str(self.process.pid), *children.read_text().split()):
                pages += int(Path(f"/proc/{process}/statm").read_text().split()[1])
        except OSError:  # it has just ended
            pass
        return pages * os.sysconf("SC_PAGE_SIZE")

    def close(self) -> None:
        """End the process."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        self.errors.close()

    def _kill(self, what: str) -> str:
        self.process.kill()
        self.process.wait()
        return what


def run_cases(
    target: str, seed: int, indices: range, folder: Path, limit_s: float, limit_bytes: int
) -> Iterator[Finding]:
    """Every case of `indices` in turn, in one process that is replaced when it dies; yields what was wrong."""
    worker = Worker(target, seed, folder / "0")
    try:
        for index in indices:
            if worker.process.poll() is not None:
                worker.close()
                worker = Worker(target, seed, folder / str(index))
            worker.ask(index)
            fault = worker.answer(limit_s, limit_bytes)
            if fault:
                yield Finding(target, index, fault)
    finally:
        worker.close()
