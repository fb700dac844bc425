"""One process of the fuzz: `python -m tests.fuzz.worker TARGET SEED [INDEX ...]`.

With indices it runs these cases and shows what happens: that is how a finding is repeated. Without, it takes them from
standard input, one per line, and answers each with one line of JSON.
"""

import json
import sys
import tempfile
import traceback
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz.targets import TARGETS, Target

# Python reports these before it does them (PEP 578). None belongs to reading a file.
FORBIDDEN = ("os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "pickle.find_class", "socket.connect")
PROGRAMS = ("ffmpeg", "ffprobe", "git")  # that we start ourselves
CANARY = "pwn"  # what the commands inside the hostile files would create


class Audit:
    """What was done while a case ran and must not be."""

    def __init__(self) -> None:
        self.on = False
        self.seen: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in FORBIDDEN or (event == "subprocess.Popen" and Path(str(arguments[0])).name not in PROGRAMS):
            self.seen.append(f"{event} {arguments!r}"[:200])


def case_rng(target: str, seed: int, index: int) -> np.random.Generator:
    """The random numbers of one case."""
    return np.random.default_rng([seed, zlib.crc32(target.encode()), index])


def run_case(target: Target, rng: np.random.Generator, folder: Path, audit: Audit) -> str:
    """Make the case and run it; returns what was wrong, "" if nothing."""
    fault = ""
    case = target.make(rng, folder)
    before = target.fingerprint()
    audit.seen, audit.on = [], True
    try:
        fault = target.run(case)
    except BaseException as error:
        if not isinstance(error, target.allowed):
            fault = traceback.format_exc()
    finally:
        audit.on = False
    if audit.seen:
        fault += f" did {audit.seen[:3]}"
    if target.fingerprint() != before:
        fault += " changed this process"
    if any(folder.rglob(CANARY)) or Path(CANARY).exists():
        fault += " ran a command"
    return fault


def peak_bytes() -> int:
    """The highest memory of this process since the last call."""
    status = Path("/proc/self/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    Path("/proc/self/clear_refs").write_text("5")
    return 1024 * int(peak.split()[1])


def main() -> None:
    """Run."""
    name, seed = sys.argv[1], int(sys.argv[2])
    target, audit = TARGETS[name], Audit()
    with tempfile.TemporaryDirectory() as given:
        folder = Path(given)
        target.prepare(folder / "originals")
        if sys.argv[3:]:
            for index in map(int, sys.argv[3:]):
                work = folder / str(index)
                work.mkdir()
                fault = run_case(target, case_rng(name, seed, index), work, audit)
                print(f"{name} {seed} {index}: {fault or 'fine'}")
            return
        answers = sys.stdout
        sys.stdout = sys.stderr  # what is printed while a case runs must not mix with the answers
        print(json.dumps({"fault": ""}), file=answers, flush=True)
        for line in sys.stdin:
            with tempfile.TemporaryDirectory(dir=folder) as name_of_work:
                peak_bytes()
                fault = run_case(target, case_rng(name, seed, int(line)), Path(name_of_work), audit)
                print(json.dumps({"fault": fault[-3000:], "peak": peak_bytes()}), file=answers, flush=True)


if __name__ == "__main__":
    main()
