"""Speed of prediction beside other busy programs: each framework, one thread and more, on a quiet and a busy machine.

    python benchmarks/busy.py [--backend onnx,torch,jax] [--threads 1,2] [--seconds 60] [--busy 2] [--library]

Every row is a process of its own, set up as the command `rmvpe predict` does; with --library, as a program that calls
`rmvpe.load` and sets nothing. The busy programs are loops in Python. Quiet and busy runs take turns, so that a change
of the machine meets both. "against the best": busy, over the busy time of the framework's best number of threads.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

import rmvpe
from rmvpe.backends import BACKENDS, installed_backends
from rmvpe.errors import UserError
from rmvpe.processes import checked_threads, cpus_of_this_process, set_jax_threads, wait_briefly
from rmvpe.program import Command, run_program

RATE_HZ = 16000
SPIN = "while True: pass"
Row = tuple[str, int]  # framework, number of threads


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    add = parser.add_argument
    add("--backend", default=",".join(installed_backends()), help="frameworks (default: %(default)s)")
    text = "numbers of threads (default: %(default)s)"
    add("--threads", default=f"1,{cpus_of_this_process()}", help=text)
    add("--weights", default="small", help="bundled name or file (default: %(default)s)")
    add("--seconds", type=float, default=60.0, metavar="S", help="of audio (default: %(default)s)")
    add("--busy", type=int, default=2, metavar="N", help="busy programs (default: %(default)s)")
    add("--runs", type=int, default=3, metavar="N", help="timed runs of each row (default: %(default)s)")
    add("--library", action="store_true", help="set nothing up that only a process of our own may")
    add("--one", help=argparse.SUPPRESS)  # a row, in its own process


def run(arguments: argparse.Namespace) -> int:
    """Measure and print."""
    if arguments.runs < 1 or arguments.busy < 1 or not arguments.seconds > 0:
        raise UserError("--runs and --busy must be at least 1 and --seconds more than 0")
    if arguments.one:
        serve(arguments)
        return 0
    backends = arguments.backend.split(",")
    unknown = [name for name in backends if name not in BACKENDS]
    if unknown:
        raise UserError(f"unknown backend {unknown[0]!r}: choose of {', '.join(BACKENDS)}")
    try:
        counts = sorted({checked_threads(int(text), "--threads") for text in arguments.threads.split(",")})
    except ValueError as error:
        raise UserError(str(error) if isinstance(error, UserError) else f"--threads: {error}") from error
    rows = [(backend, threads) for backend in backends for threads in counts]
    print(table(rows, measure(rows, arguments), arguments.seconds))
    return 0


def measure(rows: Sequence[Row], arguments: argparse.Namespace) -> dict[tuple[Row, bool], list[tuple[float, float]]]:
    """(wall, CPU) seconds of each run, by row and whether the machine was busy."""
    found: dict[tuple[Row, bool], list[tuple[float, float]]] = {}
    for row in rows:
        flags = ["--one", "{}:{}".format(*row), "--weights", arguments.weights, "--seconds", str(arguments.seconds)]
        flags += ["--library"] * arguments.library
        command = [sys.executable, __file__, *flags]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdout.readline()  # it has warmed up
            for _ in range(arguments.runs):
                for busy in (False, True):
                    with spinning(arguments.busy if busy else 0):
                        process.stdin.write("\n")
                        process.stdin.flush()
                        answer = process.stdout.readline().split()
                    if len(answer) != 2:
                        raise UserError(f"{row[0]} with {row[1]} threads did not compute; its message is above")
                    found.setdefault((row, busy), []).append((float(answer[0]), float(answer[1])))
            process.stdin.close()
    return found


@contextmanager
def spinning(count: int) -> Iterator[None]:
    """`count` busy programs inside."""
    programs = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(count)]
    try:
        if programs:
            time.sleep(0.3)  # until they have started
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def serve(arguments: argparse.Namespace) -> None:
    """Predict once for each line of standard input, and print the seconds."""
    backend, _, threads = arguments.one.partition(":")
    if not arguments.library:
        wait_briefly()
    if backend == "jax":
        set_jax_threads(int(threads))
    estimator = rmvpe.load(arguments.weights, backend, "cpu", threads=int(threads))
    audio = singing(arguments.seconds)
    estimator.from_audio(audio, RATE_HZ)
    print("ready", flush=True)
    for _ in sys.stdin:
        start, cpu = time.perf_counter(), time.process_time()
        estimator.from_audio(audio, RATE_HZ)
        spent = time.process_time() - cpu
        print(time.perf_counter() - start, spent, flush=True)


def singing(seconds: float) -> np.ndarray:
    """A vibrato with harmonics in a little noise, 16 kHz mono."""
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    phase = 2 * np.pi * 220 * time_s + 3 * np.sin(2 * np.pi * 5 * time_s)
    noise = np.random.default_rng(0).standard_normal(len(time_s))
    return (0.1 * np.sin(phase) + 0.05 * np.sin(2 * phase) + 0.01 * noise).astype(np.float32)


def table(rows: Sequence[Row], found: dict[tuple[Row, bool], list[tuple[float, float]]], seconds: float) -> str:
    """Medians per second of audio, in Markdown."""
    wall = {key: statistics.median(run[0] for run in runs) / seconds for key, runs in found.items()}
    cpu = {key: statistics.median(run[1] for run in runs) / seconds for key, runs in found.items()}
    lines = [
        "| framework | threads | quiet, s per s | its CPU time | busy, s per s | its CPU time | against the best |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        quiet, busy = (row, False), (row, True)
        best = min(wall[other, True] for other in rows if other[0] == row[0])
        numbers = [wall[quiet], cpu[quiet], wall[busy], cpu[busy]]
        cells = [row[0], str(row[1]), *(f"{number:.4f}" for number in numbers), f"{wall[busy] / best:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    lines.append(f"\n{os.cpu_count()} CPUs, {seconds:g} s of audio, medians of {len(next(iter(found.values())))} runs")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run this file's command line."""
    return run_program("busy", Command(__doc__ or "", add_arguments, run), argv)


if __name__ == "__main__":
    sys.exit(main())
