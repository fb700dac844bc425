"""Freed memory: given back to the system, or kept for the next block."""

import ctypes
import sys

# Of mallopt, https://man7.org/linux/man-pages/man3/mallopt.3.html
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
NEVER = -1


def give_back() -> None:
    """Return the memory that this process has freed and its C library still holds.

    glibc keeps freed blocks of up to 32 MB for later ones. After weights were read and folded, tensor by tensor, that
    is a quarter of a gigabyte in pieces that no activation fits into. It takes milliseconds; elsewhere nothing is done.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)


def keep_freed() -> None:
    """Keep what this process frees for its next blocks, in a process of our own that repeats the same work.

    Otherwise glibc gives the memory of a training step back in its end, and large blocks at once, and the system hands
    it out again page by page, filled with zeros: up to a tenth of the step's CPU time. Elsewhere nothing is done.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "gnu_get_libc_version"):  # musl has a mallopt that does nothing, or none
            libc.mallopt(M_MMAP_MAX, 0)
            libc.mallopt(M_TRIM_THRESHOLD, NEVER)
