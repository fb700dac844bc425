"""Freed memory, given back to the system."""

import ctypes
import sys


def give_back() -> None:
    """Return the memory that this process has freed and its C library still holds.

    glibc keeps freed blocks of up to 32 MB for later ones. After weights were read and folded, tensor by tensor, that
    is a quarter of a gigabyte in pieces that no activation fits into. It takes milliseconds; elsewhere nothing is done.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)
