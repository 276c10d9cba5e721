"""Compiled kernels, kept on disk so that each is compiled once per machine."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from pathlib import Path
from typing import NamedTuple

from ..atomic import replacing
from ..errors import StorageError
from .nvrtc import KernelError, Nvrtc

_DIGEST_BYTES = 32
_FIXED = ("--std=c++17",)
# The compiler's report of registers goes into the log, warnings do not.
_REPORT = ("--ptxas-options=-v", "-w")

_log = logging.getLogger(__name__)


class Program(NamedTuple):
    """CUDA C++ with one kernel, `name`; sizes and types are macros given when it is compiled."""

    name: str
    source: str


def user_folder() -> Path:
    """Where this user's programs keep what they can make again."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "stage-film" / "kernels"


def cubin(
    program: Program, macros: tuple[str, ...], architecture: int, nvrtc: Nvrtc, folder: Path
) -> bytes:
    """Machine code of a program for sm_`architecture`: from `folder`, else compiled and kept there.

    A file there that is damaged is made again, and a folder that cannot be written to is no
    error: the kernel is then compiled in every session.

    Raises:
        KernelError: the compiler does not know the GPU, or refuses the source.
    """
    path = folder / _file_name(program, macros, architecture, nvrtc)
    if (code := _stored(path)) is not None:
        return code
    code, _ = compiled(program, macros, architecture, nvrtc)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_bytes(hashlib.sha256(code).digest() + code)
    except (OSError, StorageError) as error:
        _log.info("kernels are compiled anew in every session: %s", error)
    return code


def compiled(
    program: Program, macros: tuple[str, ...], architecture: int, nvrtc: Nvrtc
) -> tuple[bytes, str]:
    """Machine code of a program for sm_`architecture`, and the assembler's report.

    Raises:
        KernelError: the compiler does not know the GPU, or refuses the source.
    """
    if architecture not in nvrtc.architectures:
        raise KernelError(
            f"NVRTC {nvrtc.version[0]}.{nvrtc.version[1]} does not know sm_{architecture}"
        )
    return nvrtc.compile(program.source, (*_options(macros, architecture), *_REPORT))


def _options(macros: tuple[str, ...], architecture: int) -> tuple[str, ...]:
    return (*_FIXED, f"--gpu-architecture=sm_{architecture}", *(f"-D{text}" for text in macros))


def _file_name(program: Program, macros: tuple[str, ...], architecture: int, nvrtc: Nvrtc) -> str:
    options = _options(macros, architecture)
    parts = (program.name, program.source, *options, *map(str, nvrtc.version))
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:_DIGEST_BYTES]
    return f"{program.name}-sm_{architecture}-{key}.cubin"


def _stored(path: Path) -> bytes | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, code = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    return code if hashlib.sha256(code).digest() == digest else None
