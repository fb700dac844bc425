"""`rmvpe predict` ended at random moments: by SIGKILL, which nothing survives, and by the signals that it handles.

The moments come from a seed that is printed. What must hold, holds at every moment.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from rmvpe.track import F0Track
from tests.fuzz.targets import tone

pytestmark = [
    pytest.mark.usefixtures("usual_signals"),
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="there a program cannot be sent these signals"),
]
SEED = int(os.environ.get("RMVPE_FUZZ_SEED", "0"))
FILES, KILLS = 8, 12
# "ready" is said right before the program's first line
PROGRAM = "import sys, rmvpe.__main__ as program; print('ready', flush=True); sys.exit(program.main())"
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import soundfile

    folder = tmp_path_factory.mktemp("songs")
    for number in range(FILES):
        soundfile.write(folder / f"{number:02}.wav", tone(1.0), 16_000)
    return folder


@pytest.fixture(scope="module")
def undisturbed(songs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], float]:
    """The results of a run that nobody ends, and how long it took."""
    out = tmp_path_factory.mktemp("undisturbed")
    start = time.monotonic()
    run = start_predict(songs, out)
    _, errors = run.communicate()
    assert run.returncode == 0, errors
    return contents(out), time.monotonic() - start


def start_predict(songs: Path, out: Path, jobs: int = 1) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, "predict", str(songs), "-o", str(out), "--format", "npz", "--plot"]
    command += ["--jobs", str(jobs)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.Popen(
        [*command, "--device", "cpu"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    assert run.stdout is not None
    assert run.stdout.readline() == "ready\n"
    return run


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix == ".npz"}


@pytest.mark.parametrize("jobs", [1, 2])
def test_killed_at_any_moment_predict_leaves_whole_results(
    jobs: int, songs: Path, undisturbed: tuple[dict[str, bytes], float], tmp_path: Path
):
    results, duration_s = undisturbed
    rng = np.random.default_rng(SEED)
    print(f"\nseed {SEED}")
    for _ in range(KILLS):
        run = start_predict(songs, tmp_path, jobs)
        time.sleep(rng.uniform(0, duration_s))
        run.kill()
        run.communicate()  # until its workers, which have its stderr too, are gone
        whole = [path for path in tmp_path.iterdir() if not path.name.startswith(".")]
        assert all(len(F0Track.read(path)) == 101 for path in whole if path.suffix == ".npz")
        assert len([path for path in tmp_path.iterdir() if path.name.startswith(".")]) <= jobs
    last = start_predict(songs, tmp_path, jobs)
    last.communicate()
    assert last.returncode == 0
    assert contents(tmp_path) == results
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("number", CODES)
def test_stopped_at_any_moment_predict_says_so_and_cleans_up(
    number: int, jobs: int, songs: Path, undisturbed: tuple[dict[str, bytes], float], tmp_path: Path
):
    results, duration_s = undisturbed
    rng = np.random.default_rng([SEED, number])
    print(f"\nseed {SEED}")
    codes = []
    for repeat in range(KILLS):
        out = tmp_path / str(repeat)
        run = start_predict(songs, out, jobs)
        time.sleep(0.02 + rng.uniform(0, duration_s))
        run.send_signal(number)
        _, errors = run.communicate(timeout=60)
        codes.append(run.returncode)
        assert run.returncode in (0, CODES[signal.Signals(number)]), errors
        assert "Traceback" not in errors
        assert "Exception ignored" not in errors
        if run.returncode:
            assert errors.splitlines()[-1].endswith(("interrupted", f"stopped by {signal.Signals(number).name}"))
        if out.exists():
            assert not [path.name for path in out.iterdir() if path.name.startswith(".")]
            there = contents(out)
            assert there == {name: results[name] for name in there}
            shutil.rmtree(out)
    assert CODES[signal.Signals(number)] in codes
