"""How many threads of the CPU compute inside a call, while the program around it keeps torch's own number.

`torch.set_num_threads` is a setting of the whole program, which is not ours. Below it lies OpenMP, which keeps the
number for each thread of a program separately (nthreads-var, https://www.openmp.org/spec-html/5.0/openmpsu33.html): so
it is set in the calling thread for as long as a call takes, and torch asks OpenMP at each operator. The matrix products
of MKL follow OpenMP only until somebody has called `torch.set_num_threads`; so MKL's own number for one thread is set
too.
"""

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from rmvpe.errors import UserError
from rmvpe.processes import threads_of_this_process

# By operating system, the library of torch's folder lib through which its OpenMP is reached. On Windows it is OpenMP
# itself; elsewhere a symbol is also found in what a library links to.
LIBRARIES = {"linux": "libtorch_cpu.so", "darwin": "libtorch_cpu.dylib", "win32": "libiomp5md.dll"}
SetThreads = Callable[[int], int]


@dataclass(frozen=True)
class Switches:
    """What sets the number of threads for the calling thread: of OpenMP, and of MKL where torch is built with it.

    `mkl` returns the number before, 0 if this thread had none of its own, which is also how to take it back.
    """

    openmp: SetThreads
    mkl: SetThreads | None


def switches_of_torch(platform: str = sys.platform) -> Switches | None:
    """Those of the libraries that torch computes with; None if this torch does not compute with OpenMP."""
    path = Path(torch.__file__).parent / "lib" / LIBRARIES.get(platform, "")
    if not path.is_file() or "parallel backend: OpenMP" not in torch.__config__.parallel_info():
        return None
    library = ctypes.CDLL(str(path))
    openmp = getattr(library, "omp_set_num_threads", None)
    return None if openmp is None else Switches(openmp, getattr(library, "MKL_Set_Num_Threads_Local", None))


class CpuThreads:
    """A number of threads, and a context in which torch computes with it in the calling thread alone.

    `wanted`: by default the cores that this process may use, or OMP_NUM_THREADS; but never more than
    `torch.get_num_threads()`.
    """

    def __init__(self, wanted: int | None = None, switches: Callable[[], Switches | None] = switches_of_torch):
        """Raises UserError if `wanted` is given and this torch cannot have a number for one thread."""
        self._most = threads_of_this_process()
        self._wanted = wanted
        self._switches = switches()
        if wanted is not None:
            with self.inside():
                reached = torch.get_num_threads()
            if reached != wanted:
                raise UserError(
                    f"this torch takes no threads={wanted} for a single network: call torch.set_num_threads({wanted}) "
                    "in your program, or set OMP_NUM_THREADS before it starts"
                )

    @property
    def divisible(self) -> bool:
        """Whether threads of the program can each have a number of their own."""
        return self._switches is not None

    @property
    def number(self) -> int:
        """How many threads compute in `inside`."""
        usual = torch.get_num_threads()
        if self._switches is None:
            return usual
        return self._wanted or min(usual, self._most)

    @contextmanager
    def inside(self, most: int | None = None) -> Iterator[None]:
        """Torch computes with `number` threads, at most `most`, if this thread of the program asks it to.

        Work that goes on side by side in several threads of the program enters it in each of them.
        """
        before, switches = torch.get_num_threads(), self._switches
        number = self.number if most is None else min(self.number, most)
        if switches is None or number == before:
            yield
            return
        mkl_before = switches.mkl(number) if switches.mkl else 0
        switches.openmp(number)
        try:
            yield
        finally:
            switches.openmp(before)
            if switches.mkl:
                switches.mkl(mkl_before)
