"""What the fused operations cost and save: compiled, counted, and on a GPU timed."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..kernels import cubins, nvrtc
from .kernel_cases import ARCHITECTURES, cases, variants
from .kernel_speed import speeds
from .rows import OnRow, Row, at_least, at_most

_SPILL = re.compile(r"(\d+) bytes spill (?:stores|loads)")
_COMPILE_SECONDS, _START_SECONDS, _IMPORT_SECONDS = 60, 0.05, 0.3
# One block of a model needs this many kernels before it can begin.
_KERNELS_OF_A_MODEL = 8


def measure(on_row: OnRow) -> tuple[Row, ...]:
    """Compiling for every GPU, spills, passes over memory, starting; on a GPU the speed as well."""
    before = time.perf_counter()
    compilers = nvrtc.library_files(nvrtc.library_folders())
    rows = [row for path in compilers for row in _compiled(path, on_row)]
    seconds = time.perf_counter() - before
    rows.append(at_most("time to compile all", seconds, _COMPILE_SECONDS, "s"))
    on_row("passes over memory")
    rows += _passes()
    on_row("starting")
    rows += _starting()
    if torch.cuda.is_available() and torch.version.cuda is not None:
        rows += speeds(on_row)
    return tuple(rows)


def spilled_bytes(report: str) -> int:
    """How many bytes the assembler says that it keeps in memory for want of registers."""
    return sum(map(int, _SPILL.findall(report)))


def bytes_of(function: Any) -> int:
    """Of all that a function's operators read and write, each on its own."""
    with _Traffic() as traffic:
        function()
    return traffic.num_bytes


class _Traffic(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.num_bytes = 0

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), named: Any = None):
        result = function(*arguments, **(named or {}))
        moves = not function.is_view and "empty" not in function.name()
        if moves:
            written = [
                given
                for given, argument in zip(arguments, function._schema.arguments, strict=False)
                if argument.alias_info is not None and argument.alias_info.is_write
            ]
            tensors = [one for one in tree_leaves((arguments, named, result)) if _is_tensor(one)]
            # What is written to in place is both given and returned.
            moved = tensors[len(written) :]
            self.num_bytes += sum(one.numel() * one.element_size() for one in moved)
        return result


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _compiled(path: Path, on_row: OnRow) -> list[Row]:
    compiler = nvrtc.load(path)
    name = f"NVRTC {compiler.version[0]}.{compiler.version[1]}"
    wanted = [(variant, gpu) for variant in variants() for gpu in ARCHITECTURES]
    num_compiled, num_spilled = 0, 0
    for place, (variant, gpu) in enumerate(wanted):
        on_row(f"{name}, {place + 1} of {len(wanted)}: {variant[0].name} for sm_{gpu}")
        code, report = cubins.compiled(*variant, gpu, compiler)
        num_compiled += bool(code)
        num_spilled += spilled_bytes(report)
    return [
        at_least(f"{name}: kernels compiled", num_compiled, len(wanted)),
        at_most(f"{name}: spilled", num_spilled, 0, "bytes"),
    ]


def _passes() -> list[Row]:
    rows = []
    for case in cases("meta"):
        unit = case.unit.numel() * case.unit.element_size()
        plain, fused = bytes_of(case.plain) / unit, case.num_bytes / unit
        rows += [
            Row(f"{case.name}: op by op", plain, "passes"),
            at_most(f"{case.name}: fused", fused, case.most_passes, "passes"),
        ]
    return rows


def _starting() -> list[Row]:
    rows = [at_most("import of the kernels beyond torch", _import_seconds(), _IMPORT_SECONDS, "s")]
    try:
        compiler = nvrtc.compiler()
    except nvrtc.KernelError:
        return rows
    seconds = []
    with TemporaryDirectory() as folder:
        for _ in range(2):
            start = time.perf_counter()
            for program, macros in variants()[:_KERNELS_OF_A_MODEL]:
                cubins.cubin(program, macros, 90, compiler, Path(folder))
            seconds.append(time.perf_counter() - start)
    name = f"{_KERNELS_OF_A_MODEL} kernels"
    return [
        *rows,
        Row(f"{name}, the first time on a machine", seconds[0], "s"),
        at_most(f"{name}, kept from then on", seconds[1], _START_SECONDS, "s"),
    ]


def _import_seconds() -> float:
    """How long it takes to import the kernels: again, under another name, since they are."""
    name = "stage_core_imported_again"
    engine = Path(__file__).parents[1]
    spec = importlib.util.spec_from_file_location(
        name, engine / "__init__.py", submodule_search_locations=[str(engine)]
    )
    sys.modules[name] = importlib.util.module_from_spec(spec)
    start = time.perf_counter()
    for path in sorted((engine / "kernels").glob("*.py")):
        importlib.import_module(f"{name}.kernels.{path.stem}".removesuffix(".__init__"))
    seconds = time.perf_counter() - start
    for module in [module for module in sys.modules if module.partition(".")[0] == name]:
        del sys.modules[module]
    return seconds
