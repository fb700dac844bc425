"""One measurement in a fresh process: `PYTHON benchmarks/speed_runs/worker.py TASK`, where TASK is JSON.

Started by `benchmarks/speed.py`. The last line of stdout is JSON: `seconds`, `cpu_seconds` of all threads, and
`peak_bytes`, the largest resident set of the process that computes. Each of the `RUNS` imports only what it measures.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PREDICT_COMMAND = [sys.executable, "-m", "rmvpe", "predict"]
MIB_IN_KIB = 1024  # Linux gives ru_maxrss in KiB, macOS in bytes
Task = dict[str, Any]
Measured = dict[str, float]


def timed(work: Callable[[], object]) -> Measured:
    """Seconds of a call in this process, and the largest resident set of the process so far."""
    began, cpu_began = time.perf_counter(), time.process_time()
    work()
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_bytes": peak_of_this_process()}


def timed_command(command: Sequence[str]) -> Measured:
    """Seconds of a command, and the largest resident set among its processes."""
    began = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with exit code {done.returncode}: {done.stderr.strip()}")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    peak = used.ru_maxrss * (1 if sys.platform == "darwin" else MIB_IN_KIB)
    return {"seconds": seconds, "cpu_seconds": used.ru_utime + used.ru_stime, "peak_bytes": peak}


def peak_of_this_process() -> int:
    """Bytes of the largest resident set. On Linux ru_maxrss would include the process that started this one."""
    status = Path("/proc/self/status")
    if status.is_file():
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def open_ours(task: Task) -> Callable[[str], object]:
    """The estimator of the checkout that PYTHONPATH names."""
    import rmvpe

    return rmvpe.load(task["weights"], task["backend"], "cpu").from_file


def open_reference(task: Task) -> Callable[[str], object]:
    """`RMVPE` of https://github.com/yxlllc/RMVPE (src/inference.py) in eager torch, on the CPU.

    Its modules import librosa, torchaudio and more, and need only librosa's filter bank here: ours has its numbers.
    """
    from benchmarks.host_runs.stage import put, stand_in
    from rmvpe.config import MelConfig
    from rmvpe.mel import filterbank

    stand_in("librosa", "torchaudio", "colorednoise", "tqdm")
    put("librosa.filters", mel=lambda **settings: filterbank(MelConfig()))
    sys.path.insert(0, task["checkout"])
    import soundfile
    from src.inference import RMVPE  # type: ignore[import-not-found]

    network = RMVPE(task["weights"])
    return lambda path: network.infer_from_audio(soundfile.read(path, dtype="float32")[0], device="cpu")


def open_swift_f0(task: Task) -> Callable[[str], object]:
    """SwiftF0 (https://github.com/lars76/swift-f0) with its defaults."""
    import soundfile
    from swift_f0 import SwiftF0

    network = SwiftF0()
    return lambda path: network.detect(*soundfile.read(path, dtype="float32"))


def run_files(task: Task, predict: Callable[[str], object]) -> Measured:
    """The files one after the other, reading included, loading not, after a warm-up that is not timed."""
    for path in task["warm_up"]:
        predict(path)
    return timed(lambda: [predict(path) for path in task["files"]])


def run_command(task: Task) -> Measured:
    """`rmvpe predict` as users start it, from its first import to its end, a start on one file for the second time.

    The first one leaves bytecode, and libraries in the system's memory, as every earlier start has.
    """
    with tempfile.TemporaryDirectory() as folder:
        output = str(Path(folder) / "f0.csv") if task["one_file"] else folder
        flags = ["--weights", task["weights"], "--backend", task["backend"], "--device", "cpu", *task["flags"]]
        command = [*PREDICT_COMMAND, *task["files"], "-o", output, *flags]
        before = timed_command(command) if task["one_file"] else {"cpu_seconds": 0.0}
        measured = timed_command(command)
        measured["cpu_seconds"] -= before["cpu_seconds"]  # of all children until now
        return measured


def run_convert(task: Task) -> Measured:
    """`rmvpe convert` from one framework to the other, after the conversion of small weights: all is imported then."""
    from rmvpe.cli.main import main

    def convert(source: str, target: Path) -> None:
        if main(["convert", task["direction"], source, "-o", str(target), "--quiet"]):
            raise SystemExit(f"{source} was not converted: see the message above")

    with tempfile.TemporaryDirectory() as folder:
        convert(task["imports"], Path(folder) / f"first{task['ending']}")
        return timed(lambda: convert(task["weights"], Path(folder) / f"second{task['ending']}"))


RUNS: dict[str, Callable[[Task], Measured]] = {
    "ours": lambda task: run_files(task, open_ours(task)),
    "reference": lambda task: run_files(task, open_reference(task)),
    "swift-f0": lambda task: run_files(task, open_swift_f0(task)),
    "command": run_command,
    "convert": run_convert,
}


def main() -> None:
    """Measure; what libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    task = json.loads(sys.argv[1])
    if task.get("cpus"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: task["cpus"]])
    print(json.dumps(RUNS[task["run"]](task)), file=answers, flush=True)


if __name__ == "__main__":
    main()
