"""The allocator setting that large tensors need: without it glibc maps and unmaps memory at every step."""

from __future__ import annotations

import ctypes
import os
import sys

__all__ = ["keep_memory"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def keep_memory() -> bool:
    """Tell glibc to keep freed memory instead of giving it back (up to 15 times faster on large networks).

    Called by the command line and by `meta_train` before anything large is allocated, never at import. It does
    nothing off glibc, or where the environment variable ``NEUROMETA_KEEP_MEMORY`` is ``0``.

    Returns
    -------
    bool
        Whether the setting was made.
    """
    if os.environ.get("NEUROMETA_KEEP_MEMORY") == "0" or not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, 2**31 - 1)) and bool(mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
