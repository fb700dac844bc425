"""Freed memory goes back to the system, or is kept where the same work comes again."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rmvpe.memory import give_back


def resident_mb() -> int:
    text = Path("/proc/self/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) // 1024


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is known to hold freed memory")
def test_holes_between_blocks_in_use_are_given_back():
    blocks = [np.ones(8000) for _ in range(4000)]  # 64 kB each: in the heap, not mapped one by one
    kept = blocks[::2]
    del blocks
    before = resident_mb()
    give_back()
    assert before - resident_mb() > 80 or before < 200  # another C library may have given it back by itself
    assert all(block[0] == 1.0 for block in kept)


REPEATED_WORK = """
import resource
import numpy as np
from rmvpe.memory import keep_freed

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        blocks = [np.ones(5_000_000) for _ in range(2)]  # 40 MB each: more than glibc keeps by itself
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

fresh = faults()
keep_freed()
faults()
print(fresh, faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is known to give large blocks back at once")
def test_kept_memory_is_not_asked_for_again():
    done = subprocess.run([sys.executable, "-c", REPEATED_WORK], check=True, capture_output=True, text=True)
    fresh, kept = map(int, done.stdout.split())
    assert kept < fresh / 10 or fresh < 100  # another C library may have kept it by itself
