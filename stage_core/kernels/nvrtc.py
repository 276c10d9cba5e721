"""NVIDIA's run-time compiler, found where torch or NVIDIA's wheels put it: no toolkit is needed.

Source: https://docs.nvidia.com/cuda/nvrtc
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Windows names a library after the oldest version it stands in for, without the dot.
_NAMES = re.compile(r"(?:libnvrtc(?:-[0-9a-f]+)?\.so\.(\d+)(?:\.\d+)*|nvrtc64_(\d+)\d_\d+\.dll)$")
_BUILTINS = ("libnvrtc-builtins*.so*", "nvrtc-builtins64_*.dll")
_FUNCTIONS = (
    *("nvrtcVersion", "nvrtcGetNumSupportedArchs", "nvrtcGetSupportedArchs"),
    *("nvrtcCreateProgram", "nvrtcCompileProgram", "nvrtcDestroyProgram"),
    *("nvrtcGetProgramLogSize", "nvrtcGetProgramLog", "nvrtcGetCUBINSize", "nvrtcGetCUBIN"),
)


class KernelError(RuntimeError):
    """A kernel cannot be compiled, loaded or launched on this machine; the reference can."""


@dataclass(frozen=True, eq=False)
class Nvrtc:
    """A compiler that answered: its file, its version and the GPUs (90 for sm_90) it knows."""

    path: Path
    version: tuple[int, int]
    architectures: frozenset[int]
    library: Any

    def compile(self, source: str, options: Iterable[str]) -> tuple[bytes, str]:
        """Machine code (a cubin) of CUDA C++ without headers, and what the compiler said.

        Raises:
            KernelError: the source does not compile, with the compiler's words.
        """
        program = ctypes.c_void_p()
        self._call("CreateProgram", ctypes.byref(program), source.encode(), None, 0, None, None)
        try:
            words = [option.encode() for option in options]
            result = self.library.nvrtcCompileProgram(
                program, len(words), (ctypes.c_char_p * len(words))(*words)
            )
            log = self._read("ProgramLog", program).rstrip(b"\0").decode(errors="replace")
            if result:
                raise KernelError(f"{self.path.name} refused the source of a kernel: {log.strip()}")
            return self._read("CUBIN", program), log
        finally:
            self._call("DestroyProgram", ctypes.byref(program))

    def _read(self, what: str, program: ctypes.c_void_p) -> bytes:
        size = ctypes.c_size_t()
        self._call(f"Get{what}Size", program, ctypes.byref(size))
        text = ctypes.create_string_buffer(size.value)
        self._call(f"Get{what}", program, text)
        return text.raw

    def _call(self, name: str, *arguments: Any) -> None:
        if result := getattr(self.library, f"nvrtc{name}")(*arguments):
            raise KernelError(f"{self.path.name}: {name} gives error {result}")


@functools.cache
def compiler() -> Nvrtc:
    """The compiler of this machine, loaded once; that of torch's own CUDA version before others.

    Raises:
        KernelError: there is none, or none that loads, with the reason for each.
    """
    import torch

    major = int((torch.version.cuda or "0").partition(".")[0])
    refusals = []
    for path in by_preference(library_files(library_folders()), major):
        try:
            return load(path)
        except KernelError as error:
            refusals.append(str(error))
    raise KernelError("; ".join(refusals) or "no NVRTC library is beside torch or in its wheels")


def library_folders() -> list[Path]:
    """Where the compiler may be: beside torch, in NVIDIA's wheels, in conda, in a toolkit."""
    folders = []
    torch = importlib.util.find_spec("torch")
    if torch is not None and torch.origin:
        folders.append(Path(torch.origin).parent / "lib")
    wheels = importlib.util.find_spec("nvidia")
    for place in (wheels.submodule_search_locations or []) if wheels else []:
        # nvidia/cuda_nvrtc in the wheels of CUDA 12, nvidia/cu13 in those of 13.
        for part in sorted(Path(place).iterdir()):
            folders += [part / "lib", part / "bin", part / "bin" / "x86_64"]
    folders += [Path(sys.prefix) / "lib", Path(sys.prefix) / "Library" / "bin"]
    toolkit = os.environ.get("CUDA_PATH") or os.environ.get("CUDA_HOME") or "/usr/local/cuda"
    return [*folders, Path(toolkit) / "lib64", Path(toolkit) / "bin", Path(toolkit) / "bin" / "x64"]


def library_files(folders: Iterable[Path]) -> list[Path]:
    """The compilers in these folders."""
    return [
        path
        for folder in folders
        if folder.is_dir()
        for path in sorted(folder.glob("*nvrtc*"))
        if _NAMES.match(path.name)
    ]


def by_preference(paths: Iterable[Path], major: int) -> list[Path]:
    """Those of CUDA `major` first, which the driver is known to run; then the newest."""
    return sorted(paths, key=lambda path: (_major(path) != major, -_major(path)))


def load(path: Path) -> Nvrtc:
    """The compiler in a file.

    Raises:
        KernelError: the file does not load, or is something else.
    """
    try:
        if sys.platform == "win32":
            os.add_dll_directory(str(path.parent))
        # The compiler looks for its built-in functions by name alone, which finds them in no
        # wheel: they must have been loaded before.
        for pattern in _BUILTINS:
            for builtins in sorted(path.parent.glob(pattern)):
                if ".alt." not in builtins.name:
                    ctypes.CDLL(str(builtins))
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise KernelError(f"{path} does not load: {error}") from error
    if missing := [name for name in _FUNCTIONS if not hasattr(library, name)]:
        raise KernelError(f"{path} is not an NVRTC library of CUDA 11.2 or newer: no {missing[0]}")
    major, minor, count = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    if library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)):
        raise KernelError(f"{path} does not tell its version")
    library.nvrtcGetNumSupportedArchs(ctypes.byref(count))
    known = (ctypes.c_int * count.value)()
    library.nvrtcGetSupportedArchs(known)
    return Nvrtc(path, (major.value, minor.value), frozenset(known), library)


def _major(path: Path) -> int:
    match = _NAMES.match(path.name)
    return int(match[1] or match[2]) if match else 0
