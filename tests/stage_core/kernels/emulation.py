"""Runs the CUDA sources of our kernels on the processor, in place of a GPU.

The engine's own code prepares and starts them; only the driver's place is taken.
"""

import ctypes
import shutil
import subprocess
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch

from stage_core.kernels import launch

HERE = Path(__file__).parent
COMPILE = ("g++", "-std=c++17", "-O1", "-fPIC", "-shared", "-w", f"-I{HERE}")

needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None, reason="no g++: the CUDA sources cannot run on the processor"
)


class Emulated(launch.Kernel):
    """A kernel whose function is a processor's."""

    def __init__(self, name, macros, path):
        super().__init__(name, macros, None, None)
        self.library = ctypes.CDLL(str(path))

    def run(self, blocks, arguments):
        values = [launch._value(argument) for argument in arguments]
        addresses = (ctypes.c_void_p * len(values))(*map(ctypes.addressof, values))
        self.library.start(blocks, self._threads, addresses)
        return True


@cache
def folder():
    """Holds what is compiled until the tests end."""
    return TemporaryDirectory(prefix="stage-emulator-")


@cache
def runtime():
    path = Path(folder().name) / "runtime.so"
    subprocess.run([*COMPILE, str(HERE / "runtime.cpp"), "-o", str(path)], check=True)
    ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    return path


@cache
def emulated(program, macros):
    runtime()
    name = f"{program.name}-{abs(hash(macros)):x}"
    source, library = (Path(folder().name) / f"{name}{kind}" for kind in (".cpp", ".so"))
    start = (
        f"static void body(void** arguments) {{ spread({program.name}, arguments); }}\n"
        'extern "C" void start(int blocks, int threads, void** arguments)\n'
        "{ emulate(blocks, threads, body, arguments); }\n"
    )
    source.write_text(f'#include "emulator.h"\n{program.source}\n{start}')
    options = [f"-D{macro}" for macro in macros]
    done = subprocess.run(
        [*COMPILE, *options, str(source), "-o", str(library)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return Emulated(program.name, macros, library)


@contextmanager
def emulator():
    """A block in which our operators start kernels on the processor; what they make is poisoned."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "kernel", lambda program, macros, _: emulated(program, macros))
        patch.setattr(launch, "fuses", lambda *_: True)
        # Fills what is allocated and not yet written with NaN.
        before = torch.are_deterministic_algorithms_enabled()
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before)


def far(result, exact):
    """The largest distance of a result from the exact float64, relative to its size there."""
    exact = exact.double()
    size = exact.abs() + exact.pow(2).mean().sqrt()
    return ((result.double() - exact).abs() / size).max().item()


LIMITS = {torch.float32: 1e-5, torch.bfloat16: 4e-3, torch.float16: 4e-3}
