"""The speed of this program against the reference implementation, as ratios in one run.

    python benchmarks/speed.py --reference CHECKOUT [--swift-f0 PYTHON] [--before CHECKOUT] [--rows e2e0,small]

CHECKOUT is a clone of https://github.com/yxlllc/RMVPE, which runs in eager torch; PYTHON is a Python that has the
package swift-f0; --before takes an older checkout of this repository, which is measured beside this one. The sound is
examples/demo.flac, repeated; the weights of e2e0 are random.

Each measurement is a process of its own. In each of the runs all of them take turns; the median counts. Rows:

  e2e0        a long file (--seconds): network of the published weights; seconds per second of sound, peak memory
  small       the same file, the bundled weights, and SwiftF0
  clips       clips of 2 to 10 s (--clips) one by one; what a backend compiles for their lengths counts
  folder      rmvpe predict on a folder of such clips (--folder-clips), from its start to its end
  cold        rmvpe predict on one clip of 10 s, from its start to its end, in seconds
  convert     rmvpe convert of E2E0 without the imports, in seconds
  one-thread  the long file with one thread
  busy        the long file with two other processes computing: the default number of threads against one

A ratio is to the reference, on the same sound where the row has it. Loading is not in the first three rows, nor a
first file, which is not timed: one of 10 s, or for JAX, which compiles for each length, the long file itself.
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rmvpe.backends import BACKENDS, installed_backends
from rmvpe.errors import UserError
from rmvpe.evaluation.trackers.process import THREAD_VARIABLES
from rmvpe.processes import cpus_of_this_process
from rmvpe.program import Command, run_program

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from benchmarks.speed_runs.material import Material  # noqa: E402 # found by the line above
from benchmarks.speed_runs.table import ROWS, Line, Measurement, Table  # noqa: E402

WORKER = ROOT / "benchmarks" / "speed_runs" / "worker.py"
BUSY = "while True: sum(range(10000))"
Results = Mapping[Measurement, list[dict[str, float]]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    add = parser.add_argument
    add("--reference", type=Path, required=True, metavar="CHECKOUT", help="clone of yxlllc/RMVPE")
    add("--swift-f0", metavar="PYTHON", help="a Python that has swift-f0")
    add("--before", type=Path, metavar="CHECKOUT", help="an older checkout of this repository, measured too")
    add("--rows", default=",".join(ROWS), help="some of them (default: %(default)s)")
    add("--backends", default=",".join(installed_backends()), help="some of them (default: %(default)s)")
    add("--runs", type=int, default=3, help="default: %(default)s")
    add("--seconds", type=float, default=180.0, help="of the long file (default: %(default)s)")
    add("--clips", type=int, default=20, help="how many one by one (default: %(default)s)")
    add("--folder-clips", type=int, default=200, help="how many in the folder (default: %(default)s)")
    text = "put before the command of each measuring process, such as 'taskset -c 0,1' or 'nice'"
    add("--prefix", default="", metavar="COMMAND", help=text)


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; 1 if a goal is not met."""
    rows, backends = chosen(arguments.rows, ROWS, "--rows"), chosen(arguments.backends, BACKENDS, "--backends")
    if arguments.runs < 1 or arguments.clips < 1 or arguments.folder_clips < 2 or not arguments.seconds > 0:
        raise UserError("--runs, --clips and --seconds must be above 0, --folder-clips above 1")
    check_checkout(arguments.reference, "src/inference.py", "a clone of yxlllc/RMVPE")
    if arguments.before is not None:
        check_checkout(arguments.before, "rmvpe/estimator.py", "a checkout of this repository")
    with tempfile.TemporaryDirectory() as folder:
        table = Table(
            Material(Path(folder), ROOT / "examples" / "demo.flac", arguments.seconds),
            str(arguments.reference.resolve()),
            backends,
            has_before=arguments.before is not None,
            has_swift_f0=arguments.swift_f0 is not None,
            n_clips=arguments.clips,
            n_folder=arguments.folder_clips,
            jobs=cpus_of_this_process() if "folder" in rows and has_jobs() else 0,
        )
        lines = {row: table.lines(row) for row in rows}
        results = measure([line for made in lines.values() for line in made], arguments)
    return 0 if report(lines, results) else 1


def chosen(text: str, known: Sequence[str] | Mapping[str, object], flag: str) -> list[str]:
    """Some of `known`, by commas. Raises UserError for others."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in known:
            raise UserError(f"{flag} {name}: choose some of {', '.join(known)}")
    return names


def check_checkout(folder: Path, file: str, what: str) -> None:
    """Raise UserError unless the folder has the file."""
    if not (folder / file).is_file():
        raise UserError(f"{folder} has no {file}: give {what}")


def has_jobs() -> bool:
    """Whether `rmvpe predict` takes --jobs."""
    command = [sys.executable, "-m", "rmvpe", "predict", "--help"]
    return "--jobs" in subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def measure(lines: Sequence[Line], arguments: argparse.Namespace) -> Results:
    """Each measurement once in each run, in turns. One that fails is reported and has no result."""
    wanted = list(dict.fromkeys(made for line in lines for made in (line.measurement, line.base) if made is not None))
    results: dict[Measurement, list[dict[str, float]]] = {measurement: [] for measurement in wanted}
    for number in range(arguments.runs):
        for position, measurement in enumerate(wanted, 1):
            try:
                results[measurement].append(measure_once(measurement, arguments))
            except UserError as error:
                print(f"failed: {error}", file=sys.stderr, flush=True)
            print(
                f"run {number + 1} of {arguments.runs}, {position} of {len(wanted)} done", file=sys.stderr, flush=True
            )
    return results


def measure_once(measurement: Measurement, arguments: argparse.Namespace) -> dict[str, float]:
    """One process. Raises UserError if it fails, with the last line it wrote."""
    python = arguments.swift_f0 if measurement.who == "swift-f0" else sys.executable
    checkout = arguments.before.resolve() if measurement.who == "before" else ROOT
    environment = dict(os.environ, PYTHONPATH=str(checkout))
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed program has its bytecode
    task = dict(measurement.task)
    if measurement.threads:
        environment |= dict.fromkeys(THREAD_VARIABLES, str(measurement.threads))
        task["cpus"] = measurement.threads if task.get("backend") == "jax" else 0  # JAX has one for each CPU
    command = [*shlex.split(arguments.prefix), python, str(WORKER), json.dumps(task)]
    with busy_processes(measurement.busy):
        done = subprocess.run(command, env=environment, cwd=checkout, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise UserError(f"{measurement.who}, {task['run']} {task.get('backend', '')}: {last}")
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Processes that compute without end."""
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for process in others:
            process.kill()
            process.wait()


def report(rows: Mapping[str, Sequence[Line]], results: Results) -> bool:
    """Print the table; whether all goals are met."""
    all_met = True
    for row, lines in rows.items():
        print(f"\n{row}")
        print(f"  {'':<32} {'time':>10} {'CPU':>10} {'peak':>8} {'ratio':>6} {'of CPU':>6}")
        for line in lines:
            text, met = figures(line, results)
            print(f"  {line.label:<32} {text}")
            all_met = all_met and met
    print("\ntime, CPU: seconds per second of sound; in the rows cold and convert seconds. peak: resident memory")
    return all_met


def figures(line: Line, results: Results) -> tuple[str, bool]:
    """The figures of a line, and whether its goals are met."""
    if not results[line.measurement] or (line.base is not None and not results[line.base]):
        return "failed", False
    seconds, cpu_seconds, peak = (
        median(line.measurement, name, results) for name in ("seconds", "cpu_seconds", "peak_bytes")
    )
    text, ratio = f"{seconds:>10.4f} {cpu_seconds:>10.4f} {peak / 1e9:>5.2f} GB ", None
    if line.base is not None:
        ratio = seconds / median(line.base, "seconds", results)
        text += f"{ratio:>6.3f} {cpu_seconds / median(line.base, 'cpu_seconds', results):>6.3f}"
    else:
        text += " " * 13
    goals = [
        (line.goal, ratio, f"{line.goal:g}"),
        (line.goal_s, seconds, f"{line.goal_s:g} s"),
        (line.goal_bytes, peak, f"{line.goal_bytes / 1e9:g} GB"),
    ]
    met = True
    for goal, value, name in goals:
        if goal and value is not None:
            met = met and value <= goal
            text += f"  at most {name}: {'met' if value <= goal else 'NOT MET'}"
    return text, met


def median(measurement: Measurement, name: str, results: Results) -> float:
    """The median over the runs, of a time per second of sound where there is any."""
    value = statistics.median(measured[name] for measured in results[measurement])
    return value / measurement.audio_s if measurement.audio_s and name != "peak_bytes" else value


def main(argv: Sequence[str] | None = None) -> int:
    """Parse and call."""
    return run_program("speed", Command(__doc__ or "", add_arguments, run), argv)


if __name__ == "__main__":
    sys.exit(main())
