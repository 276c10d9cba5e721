"""Starts compiled kernels through NVIDIA's driver, on torch's own streams.

Source: https://docs.nvidia.com/cuda/cuda-driver-api
"""

from __future__ import annotations

import ctypes
import functools
import logging
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .cubins import Program, cubin, user_folder
from .nvrtc import KernelError, compiler

NAMESPACE = f"stage_{zlib.crc32(__name__.encode()):08x}"
"""Of our operators in torch: the engine may be imported under two names, and both must work."""

ELEMENTS = {torch.float32: "Fp32", torch.bfloat16: "Bf16", torch.float16: "Fp16"}
"""What kernels read and write, by its name in their sources."""

WARP = 32
ALIGNMENT = 16
LANE_ELEMENTS = 8

_DRIVERS = {"win32": "nvcuda.dll"}

_log = logging.getLogger(__name__)

Argument = Tensor | int | float | None


class Kernel:
    """One variant of a kernel, loaded into one device; after a failure it is never tried again.

    Its first macro says how many threads a block has: `THREADS=256`.
    """

    def __init__(
        self,
        name: str,
        macros: tuple[str, ...],
        function: ctypes.c_void_p,
        context: ctypes.c_void_p,
    ):
        self._name, self._threads = name, int(macros[0].partition("=")[2])
        self._function, self._context = function, context
        self._works = True

    def run(self, blocks: int, arguments: Sequence[Argument]) -> bool:
        """Start it on the current stream of its tensors' device; False if it could not start.

        Tensors are passed by address, integers as 64 bits, other numbers as floats.
        """
        if not self._works:
            return False
        device = next(value.device for value in arguments if isinstance(value, Tensor))
        values = [_value(argument) for argument in arguments]
        addresses = (ctypes.c_void_p * len(values))(*map(ctypes.addressof, values))
        stream = ctypes.c_void_p(torch.cuda.current_stream(device).cuda_stream)
        shape = (blocks, 1, 1, self._threads, 1, 1, 0)
        try:
            with torch.cuda.device(device):
                driver = _driver()
                _enter(driver, self._context)
                _call(driver, "cuLaunchKernel", self._function, *shape, stream, addresses, None)
        except KernelError as error:
            self._works = False
            warn(f"{self._name}: {error}")
        return self._works


@functools.cache
def kernel(program: Program, macros: tuple[str, ...], device: torch.device) -> Kernel | None:
    """The variant of a kernel that these macros make, for a device; None: use the reference.

    Compiling and loading happen here, the first time. What fails is reported once.
    """
    if device.type != "cuda" or torch.version.cuda is None:
        return None
    try:
        return _loaded(program, macros, device)
    except (OSError, RuntimeError) as error:
        # Whatever this machine lacks: the reference does the same work.
        warn(str(error))
        return None


@functools.cache
def warn(reason: str) -> None:
    """Say once why a kernel is not used."""
    _log.warning("a fused operation runs as plain PyTorch, with the same result: %s", reason)


def fuses(*tensors: Tensor | None) -> bool:
    """Whether a kernel may do the work of the reference: on CUDA, and no gradient is asked for."""
    if torch.version.cuda is None:
        return False
    given = [tensor for tensor in tensors if tensor is not None]
    if not all(tensor.is_cuda for tensor in given):
        return False
    if not all(tensor.dtype in ELEMENTS for tensor in given if not tensor.is_complex()):
        return False
    return not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given))


def rows(tokens: Tensor) -> Tensor:
    """Tokens [B, N, D] that can be read sixteen bytes at a time: as they are, or a copy."""
    return tokens if aligned(tokens) else tokens.clone(memory_format=torch.contiguous_format)


def aligned(tensor: Tensor) -> bool:
    """Whether every row of the last dimension is contiguous and starts at sixteen bytes."""
    wide = (
        stride
        for stride, size in zip(tensor.stride()[:-1], tensor.shape[:-1], strict=True)
        if size > 1
    )
    return (
        (tensor.stride(-1) == 1 or tensor.shape[-1] == 1)
        and tensor.data_ptr() % ALIGNMENT == 0
        and all(stride % LANE_ELEMENTS == 0 for stride in wide)
    )


def threads_for(lanes: int, most: int) -> int:
    """Whole warps for `lanes` pieces of work, at most `most` threads."""
    return min(most, -(-lanes // WARP) * WARP)


def _loaded(program: Program, macros: tuple[str, ...], device: torch.device) -> Kernel:
    driver = _driver()
    index = torch.cuda.current_device() if device.index is None else device.index
    major, minor = torch.cuda.get_device_capability(index)
    code = cubin(program, macros, 10 * major + minor, compiler(), user_folder())
    context, module, function = (ctypes.c_void_p() for _ in range(3))
    handle = ctypes.c_int()
    _call(driver, "cuInit", 0)
    _call(driver, "cuDeviceGet", ctypes.byref(handle), index)
    _call(driver, "cuDevicePrimaryCtxRetain", ctypes.byref(context), handle)
    with torch.cuda.device(index):
        _enter(driver, context)
        _call(driver, "cuModuleLoadData", ctypes.byref(module), code)
        name = program.name.encode()
        _call(driver, "cuModuleGetFunction", ctypes.byref(function), module, name)
    return Kernel(program.name, macros, function, context)


@functools.cache
def _driver() -> Any:
    name = _DRIVERS.get(sys.platform, "libcuda.so.1")
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        raise KernelError(f"NVIDIA's driver {Path(name).name} does not load: {error}") from error


def _enter(driver: Any, context: ctypes.c_void_p) -> None:
    """A thread that torch has not worked in yet has no context; torch's is that of the device."""
    current = ctypes.c_void_p()
    _call(driver, "cuCtxGetCurrent", ctypes.byref(current))
    if not current.value:
        _call(driver, "cuCtxSetCurrent", context)


def _call(driver: Any, name: str, *arguments: Any) -> None:
    if result := getattr(driver, name)(*arguments):
        raise KernelError(f"{name} gives error {result}")


def _value(argument: Argument) -> Any:
    if argument is None:
        return ctypes.c_void_p(None)
    if isinstance(argument, Tensor):
        return ctypes.c_void_p(argument.data_ptr())
    return (ctypes.c_longlong if isinstance(argument, int) else ctypes.c_float)(argument)
