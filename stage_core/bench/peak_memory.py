"""How much memory this process uses, and has used at most."""

from __future__ import annotations

import ctypes
import re
import sys
from pathlib import Path


def peak_rss_bytes() -> int:
    """The largest resident size of this process so far, in bytes."""
    if sys.platform == "win32":
        return _peak_working_set()
    if sys.platform == "linux":
        # What getrusage says there includes the process that started this one.
        status = Path("/proc/self/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024
    import resource

    # In bytes on macOS, where this is what is left.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def rss_bytes() -> int:
    """The resident size of this process; the largest so far where the system tells no more."""
    if sys.platform != "linux":
        return peak_rss_bytes()
    import resource

    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


class _ProcessMemoryCounters(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_uint32),
        ("page_faults", ctypes.c_uint32),
        ("peak_working_set", ctypes.c_size_t),
        ("rest", ctypes.c_size_t * 7),
    )


def _peak_working_set() -> int:
    kernel = ctypes.windll.kernel32
    counters = _ProcessMemoryCounters(size=ctypes.sizeof(_ProcessMemoryCounters))
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    process = ctypes.c_void_p(kernel.GetCurrentProcess())
    kernel.K32GetProcessMemoryInfo(process, ctypes.byref(counters), counters.size)
    return counters.peak_working_set
