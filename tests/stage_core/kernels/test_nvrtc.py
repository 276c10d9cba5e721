"""The run-time compiler: where it is found, what is refused, and what it makes of our sources."""

import _ctypes
import importlib.util
import sys
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import pytest

from stage_core.bench.kernel_cases import ARCHITECTURES, variants
from stage_core.bench.kernels import spilled_bytes
from stage_core.kernels import cubins, nvrtc

FIRST = {program.name: (program, macros) for program, macros in reversed(variants())}


def compiler(major):
    found = nvrtc.by_preference(nvrtc.library_files(nvrtc.library_folders()), major)
    if not found or (made := nvrtc.load(found[0])).version[0] != major:
        pytest.skip(f"no NVRTC of CUDA {major}; `pip install stage-film[test]` brings it")
    return made


# Of the GPUs those before and after there were instructions for numbers of sixteen bits.
@pytest.mark.parametrize("architecture", [75, 120])
@pytest.mark.parametrize("major", [12, 13])
def test_sources_compile_and_nothing_spills(major, architecture):
    nvidia = compiler(major)
    for name, (program, macros) in FIRST.items():
        code, report = cubins.compiled(program, macros, architecture, nvidia)
        assert code.startswith(b"\x7fELF") and f"'{name}'" in report
        assert spilled_bytes(report) == 0


@pytest.mark.slow
@pytest.mark.parametrize("major", [12, 13])
def test_every_variant_compiles_for_every_gpu_and_nothing_spills(major):
    nvidia = compiler(major)
    for variant, architecture in product(variants(), ARCHITECTURES):
        _, report = cubins.compiled(*variant, architecture, nvidia)
        assert spilled_bytes(report) == 0, (variant[1], architecture)


def test_a_report_of_spills_is_understood():
    report = "8 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads"
    assert spilled_bytes(report) == 16


@pytest.mark.parametrize("major", [12, 13])
def test_a_source_with_a_mistake_is_refused_with_the_compilers_words(major):
    broken = cubins.Program("broken", 'extern "C" __global__ void broken() { return nothing; }')
    with pytest.raises(nvrtc.KernelError, match='identifier "nothing" is undefined'):
        cubins.compiled(broken, (), 80, compiler(major))


@pytest.mark.parametrize("major", [12, 13])
def test_a_gpu_that_the_compiler_does_not_know_is_refused(major):
    with pytest.raises(nvrtc.KernelError, match=rf"NVRTC {major}\.\d+ does not know sm_35"):
        cubins.compiled(*FIRST["dequantise"], 35, compiler(major))


def test_another_library_is_refused():
    library = Path(_ctypes.__file__)
    with pytest.raises(nvrtc.KernelError, match="is not an NVRTC library"):
        nvrtc.load(library)


def test_a_file_that_is_no_library_is_refused(tmp_path):
    file = tmp_path / "libnvrtc.so.12"
    file.write_text("not a library")
    with pytest.raises(nvrtc.KernelError, match=r"libnvrtc\.so\.12 does not load"):
        nvrtc.load(file)


def test_compilers_are_known_by_their_names_on_linux_and_windows(tmp_path):
    right = ["libnvrtc.so.12", "libnvrtc.so.13.0.88", "libnvrtc-672ee683.so.11.2"]
    right += ["nvrtc64_120_0.dll", "nvrtc64_130_0.dll"]
    wrong = ["libnvrtc.alt.so.12", "libnvrtc-builtins.so.12.8", "nvrtc64_120_0.alt.dll"]
    wrong += ["nvrtc-builtins64_128.dll", "libnvrtc_static.a", "nvrtc.h"]
    for name in right + wrong:
        (tmp_path / name).touch()
    found = nvrtc.library_files([tmp_path / "missing", tmp_path])
    assert sorted(path.name for path in found) == sorted(right)


def test_wheels_of_both_generations_and_a_toolkit_are_looked_into(tmp_path, monkeypatch):
    places = ["nvidia/cuda_nvrtc/lib/libnvrtc.so.12", "nvidia/cuda_nvrtc/bin/nvrtc64_120_0.dll"]
    places += ["nvidia/cu13/lib/libnvrtc.so.13", "nvidia/cu13/bin/x86_64/nvrtc64_130_0.dll"]
    places += ["torch/lib/nvrtc64_120_0.dll", "toolkit/lib64/libnvrtc.so.12"]
    for place in places:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    spec = SimpleNamespace(
        origin=str(tmp_path / "torch" / "__init__.py"),
        submodule_search_locations=[str(tmp_path / "nvidia")],
    )
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "environment"))
    monkeypatch.setenv("CUDA_PATH", str(tmp_path / "toolkit"))
    found = nvrtc.library_files(nvrtc.library_folders())
    assert {path.relative_to(tmp_path).as_posix() for path in found} == set(places)


def test_the_cuda_version_of_torch_comes_first_then_the_newest(tmp_path):
    names = ["libnvrtc.so.11.2", "nvrtc64_120_0.dll", "libnvrtc.so.13"]
    paths = [tmp_path / name for name in names]
    assert [path.name for path in nvrtc.by_preference(paths, 12)] == [names[1], names[2], names[0]]
    assert [path.name for path in nvrtc.by_preference(paths, 0)] == [names[2], names[1], names[0]]
