"""Keeping, loading and starting kernels, and what happens where that fails."""

import ctypes
import importlib.util
import logging
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

import stage_core
from stage_core.kernels import cubins, launch
from stage_core.kernels import gate_residual_norm_modulate as k1
from stage_core.kernels.nvrtc import KernelError, Nvrtc

KINDS = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_longlong, ctypes.c_float)
PROGRAM = cubins.Program("example", "the source")


class Compiler(Nvrtc):
    """Counts what it compiles; its machine code is its options."""

    def compile(self, source, options):
        self.path.write_text(f"{self.path.read_text()}*")
        return " ".join(options).encode(), "report"


class Driver:
    """Stands in for NVIDIA's; notes what it is asked to start, and answers with `result`."""

    def __init__(self, result=0):
        self.result, self.started = result, []

    def cuCtxGetCurrent(self, context):
        context._obj.value = 1
        return 0

    def cuLaunchKernel(self, *arguments):
        *others, addresses, _ = arguments
        # They are gone after the call.
        values = [kind.from_address(at).value for kind, at in zip(KINDS, addresses, strict=False)]
        self.started.append((*others, values))
        return self.result


@pytest.fixture
def compiler(tmp_path):
    log = tmp_path / "compiled"
    log.touch()
    return Compiler(log, (12, 8), frozenset({80, 90}), None)


@pytest.fixture
def gpu(monkeypatch):
    """A machine that believes to have one; `gpu(driver)` puts a driver in."""
    caches = (launch.kernel, launch.warn)
    for cache in caches:
        cache.cache_clear()
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    stream = type("Stream", (), {"cuda_stream": 5})
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    monkeypatch.setattr(torch.cuda, "device", nullcontext)
    yield lambda driver: monkeypatch.setattr(launch, "_driver", lambda: driver)
    for cache in caches:
        cache.cache_clear()


def compiled(compiler):
    return len(compiler.path.read_text())


def warnings(caplog):
    return [record for record in caplog.records if record.levelno == logging.WARNING]


def test_a_kernel_is_compiled_once_and_kept(tmp_path, compiler):
    codes = [cubins.cubin(PROGRAM, ("A=1",), 80, compiler, tmp_path / "new") for _ in range(3)]
    assert len(set(codes)) == 1 and b"-DA=1" in codes[0] and b"sm_80" in codes[0]
    assert compiled(compiler) == 1


def test_another_source_option_gpu_or_compiler_is_another_kernel(tmp_path, compiler):
    other = Compiler(compiler.path, (13, 0), compiler.architectures, None)
    for program, macros, architecture, nvidia in (
        (PROGRAM, ("A=1",), 80, compiler),
        (PROGRAM._replace(source="another"), ("A=1",), 80, compiler),
        (PROGRAM, ("A=2",), 80, compiler),
        (PROGRAM, ("A=1",), 90, compiler),
        (PROGRAM, ("A=1",), 80, other),
    ):
        cubins.cubin(program, macros, architecture, nvidia, tmp_path)
    assert compiled(compiler) == 5 == len(list(tmp_path.glob("*.cubin")))


def test_a_damaged_file_is_made_again(tmp_path, compiler):
    code = cubins.cubin(PROGRAM, (), 80, compiler, tmp_path)
    (file,) = tmp_path.glob("*.cubin")
    for damaged in (file.read_bytes()[:-1], b""):
        file.write_bytes(damaged)
        assert cubins.cubin(PROGRAM, (), 80, compiler, tmp_path) == code
    assert compiled(compiler) == 3


def test_a_folder_that_cannot_be_written_to_costs_only_the_keeping(tmp_path, compiler):
    (tmp_path / "file").touch()
    for _ in range(2):
        assert cubins.cubin(PROGRAM, (), 80, compiler, tmp_path / "file" / "folder")
    assert compiled(compiler) == 2


def test_the_folder_is_the_users_own(monkeypatch, tmp_path):
    for variable in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert tmp_path in cubins.user_folder().parents


def test_without_a_compiler_the_reference_runs_and_one_warning_says_why(gpu, monkeypatch, caplog):
    def fails(*_):
        raise KernelError("no compiler here")

    monkeypatch.setattr(launch, "_loaded", fails)
    for width in (1, 2, 2):
        assert launch.kernel(PROGRAM, (f"THREADS={width}",), torch.device("cuda", 0)) is None
    assert len(warnings(caplog)) == 1 and "no compiler here" in caplog.text


def test_without_a_gpu_nothing_is_tried_and_nothing_said(caplog):
    assert launch.kernel(PROGRAM, ("THREADS=32",), torch.device("cpu")) is None
    assert not launch.fuses(torch.ones(1)) and not caplog.records


def test_a_kernel_starts_on_torchs_stream_with_the_addresses_of_its_arguments(gpu):
    driver, tensor = Driver(), torch.ones(3)
    gpu(driver)
    kernel = launch.Kernel("example", ("THREADS=96", "A=1"), ctypes.c_void_p(7), None)
    assert kernel.run(4, (tensor, None, 11, 0.5))
    ((function, *shape, stream, values),) = driver.started
    assert function.value == 7 and stream.value == 5
    assert shape == [4, 1, 1, 96, 1, 1, 0]
    assert values == [tensor.data_ptr(), None, 11, 0.5]


def test_a_kernel_that_does_not_start_is_replaced_for_good_with_one_warning(
    gpu, monkeypatch, caplog
):
    driver = Driver(result=701)
    gpu(driver)
    kernel = launch.Kernel("example", ("THREADS=32",), ctypes.c_void_p(7), None)
    monkeypatch.setattr(launch, "kernel", lambda *_: kernel)
    monkeypatch.setattr(launch, "fuses", lambda *_: True)
    x, gate, scale, shift = (torch.randn(1, n, 16) for n in (5, 1, 1, 1))
    norm = k1.Modulation(scale, shift)
    for _ in range(3):
        made = k1.gate_residual_norm_modulate(x, x, gate, norm)
        assert all(map(torch.equal, made, k1.reference(x, x, gate, norm)))
    assert len(driver.started) == 1
    assert len(warnings(caplog)) == 1 and "cuLaunchKernel gives error 701" in caplog.text


def test_a_missing_driver_is_an_error_that_the_reference_mends(monkeypatch):
    monkeypatch.setattr(launch, "_DRIVERS", {sys.platform: "no-such-driver.so"})
    launch._driver.cache_clear()
    with pytest.raises(KernelError, match=r"no-such-driver\.so does not load"):
        launch._driver()


def test_only_what_does_not_lie_right_is_copied():
    wide = torch.randn(2, 6, 64)
    for right in (wide, wide[:, 1:4, 8:48], wide.transpose(0, 1), torch.randn(5, 1, 8)[:1]):
        assert launch.rows(right) is right
    for wrong in (wide[:, :, 1:9], wide[..., ::2], torch.randn(1, 3, 9)[..., :8]):
        copy = launch.rows(wrong)
        assert torch.equal(copy, wrong) and launch.aligned(copy) and copy is not wrong


def test_the_engine_may_be_imported_under_two_names():
    folder = Path(stage_core.__file__).parent
    spec = importlib.util.spec_from_file_location(
        "twice", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    sys.modules["twice"] = importlib.util.module_from_spec(spec)
    again = importlib.import_module("twice.kernels.gate_residual_norm_modulate")
    x, factor = torch.randn(1, 3, 16), torch.randn(1, 1, 16)
    assert again is not k1
    for one in (k1, again, k1):
        made = one._norm_modulate(x, factor, factor, 0, 1e-6)
        assert torch.equal(made, k1.norm_modulate(x, k1.Modulation(factor, factor)))
    for name in [name for name in sys.modules if name.partition(".")[0] == "twice"]:
        del sys.modules[name]
