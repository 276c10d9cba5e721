"""What this machine has left: VRAM and RAM."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from pathlib import Path

import torch

# Windows lets programs lock about half of all RAM; elsewhere what is free is the limit.
_LOCKABLE_ON_WINDOWS = 0.4
_LOCKABLE = 0.9


def free_vram_bytes(device: torch.device) -> int:
    """VRAM that this program may still take, with what it holds itself and does not use."""
    free, _ = torch.cuda.mem_get_info(device)
    idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return free + idle


def lockable_bytes() -> int:
    """RAM that may be page-locked without harm to other programs; 0 where it cannot be told."""
    total, free = ram_bytes()
    share = _LOCKABLE_ON_WINDOWS if sys.platform == "win32" else _LOCKABLE
    return int(min(share * total, _LOCKABLE * free))


def ram_bytes() -> tuple[int, int]:
    """RAM in all, and what of it programs may take; zeros where the system does not tell."""
    if sys.platform == "win32":
        status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
        ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
        return status.total, status.free
    if sys.platform == "linux":
        text = Path("/proc/meminfo").read_text()
        found = dict(re.findall(r"(MemTotal|MemAvailable):\s+(\d+) kB", text))
        return tuple(int(found.get(name, 0)) * 1024 for name in ("MemTotal", "MemAvailable"))
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 0, 0
    return total, total // 2


class _MemoryStatus(ctypes.Structure):
    _fields_ = (
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        ("total", ctypes.c_uint64),
        ("free", ctypes.c_uint64),
        ("rest", ctypes.c_uint64 * 5),
    )
