"""The arrows of the architecture: who may import whom, and what importing may cost."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ENGINE = sorted((ROOT / "stage_core").rglob("*.py"))
NODES = sorted((ROOT / "nodes").rglob("*.py"))
SOURCES = [ROOT / "__init__.py", *ENGINE, *NODES]
TESTS = sorted((ROOT / "tests").rglob("*.py"))

HOST = {"comfy", "comfy_api", "comfy_execution", "comfy_extras", "folder_paths", "server"}
HOST |= {"nodes", "execution", "latent_preview", "comfyui_version"}
HEAVY = {"diffusers", "transformers"}
UNSAFE = {"pickle", "marshal", "shelve", "subprocess", "socket", "urllib", "http"}
PURE = {"torch", "einops"}

# Folders and modules of the engine from below to above. Each may import those in its row and,
# like all, story and errors; training and the command line stand above everything.
ARROWS = {
    "errors": set(),
    "story": set(),
    "diffusion": set(),
    "kernels": set(),
    "offload": set(),
    "atomic": set(),
    "peak_memory": set(),
    "media": {"atomic"},
    "encoding": {"diffusion"},
    "models": {"kernels"},
    "backends": {"encoding", "diffusion", "models", "offload", "media"},
    "stories": set(),
    "planning": set(),
    "editing": {"atomic", "media"},
    "ledger": {"atomic", "media"},
    "project": {"atomic", "media", "ledger"},
    "pipeline": {"planning", "editing", "backends.protocol"},
    "takes": {"project", "ledger", "pipeline", "backends.protocol"},
    "convert": {"atomic", "encoding", "models"},
    "bench": {
        *("backends", "encoding", "models", "kernels", "offload", "diffusion"),
        *("pipeline", "planning", "project", "takes", "peak_memory"),
    },
    "options": {"backends.load", "bench", "stories", "takes"},
}
ABOVE_ALL = {"__init__", "__main__", "training"}


def imports(path):
    """(dots, dotted name, whether inside a function) of every import in a file."""
    tree = ast.parse(path.read_text("utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    inner = {
        id(node)
        for body in ast.walk(tree)
        if isinstance(body, functions)
        for node in ast.walk(body)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield 0, alias.name, id(node) in inner
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.level, node.module, id(node) in inner
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.level, alias.name, id(node) in inner


def absolute(path):
    """First names of what a file imports by absolute name."""
    return {name.split(".")[0] for dots, name, _ in imports(path) if dots == 0}


def within(path):
    """Dotted names below stage_core that an engine file imports relatively."""
    package = path.relative_to(ROOT / "stage_core").parent.parts
    for dots, name, _ in imports(path):
        if dots:
            assert dots <= len(package) + 1, f"{path} reaches above stage_core"
            yield ".".join([*package[: len(package) + 1 - dots], name])


def called(path):
    """Names of the functions that a file calls by a plain name."""
    nodes = ast.walk(ast.parse(path.read_text("utf-8")))
    return {n.func.id for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}


def part(path):
    """The folder or module right below stage_core that a file belongs to."""
    return path.relative_to(ROOT / "stage_core").with_suffix("").parts[0]


def short(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", ENGINE, ids=short)
def test_the_engine_does_not_know_its_host_or_its_own_name(path):
    assert not absolute(path) & (HOST | {"stage_core"})


@pytest.mark.parametrize("path", ENGINE, ids=short)
def test_imports_follow_the_arrows(path):
    here = part(path)
    if here in ABOVE_ALL:
        return
    allowed = {here, "errors", "story"} | ARROWS[here]
    for name in within(path):
        assert any(name == way or name.startswith(f"{way}.") for way in allowed), name


def test_backends_do_not_import_each_other():
    for path in (ROOT / "stage_core" / "backends").rglob("*.py"):
        # The modules of one backend share its folder, or the first word of their names.
        family = path.relative_to(ROOT / "stage_core" / "backends").parts[0].partition("_")[0]
        own = f"backends.{family.removesuffix('.py')}"
        for name in within(path):
            if name.startswith("backends.") and path.name != "load.py":
                assert name.startswith(("backends.protocol", own)), f"{path} imports {name}"


def test_the_arrows_have_no_circle():
    rows = {name: {way.split(".")[0] for way in ways} for name, ways in ARROWS.items()}
    while rows:
        bottom = {name for name, ways in rows.items() if not ways & set(rows)}
        assert bottom, f"a circle among {sorted(rows)}"
        rows = {name: ways for name, ways in rows.items() if name not in bottom}


@pytest.mark.parametrize("folder", ["story", "diffusion"])
def test_story_and_mathematics_import_torch_and_einops_only(folder):
    for path in (ROOT / "stage_core" / folder).rglob("*.py"):
        assert absolute(path) <= set(sys.stdlib_module_names) | PURE, path


@pytest.mark.parametrize("path", ENGINE, ids=short)
def test_heavy_libraries_are_imported_in_functions_of_backends(path):
    for dots, name, in_function in imports(path):
        if dots == 0 and name.split(".")[0] in HEAVY:
            assert part(path) == "backends" and in_function


def test_the_pack_imports_nothing_at_its_top():
    names = [
        (dots, name) for dots, name, in_function in imports(ROOT / "__init__.py") if not in_function
    ]
    assert all(name == "__future__" for _, name in names)


@pytest.mark.parametrize("path", SOURCES, ids=short)
def test_nothing_runs_foreign_code_or_opens_a_connection(path):
    assert not absolute(path) & UNSAFE
    assert not called(path) & {"eval", "exec", "compile", "__import__"}


@pytest.mark.parametrize("path", SOURCES, ids=short)
def test_only_the_command_line_prints(path):
    assert "print" not in called(path) or path.name == "__main__.py"


@pytest.mark.parametrize("path", SOURCES + TESTS, ids=short)
def test_sources_are_ascii(path):
    path.read_bytes().decode("ascii")


@pytest.mark.parametrize("path", SOURCES, ids=short)
def test_modules_have_at_most_400_lines_and_functions_40(path):
    text = path.read_text("utf-8")
    assert text.count("\n") <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno - node.lineno < 40, f"{node.name}, line {node.lineno}"


@pytest.mark.parametrize("path", SOURCES, ids=short)
def test_every_module_says_what_it_is(path):
    assert ast.get_docstring(ast.parse(path.read_text("utf-8")))


def python(code):
    """What a fresh interpreter prints while it runs `code`."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_plan_is_made_without_torch():
    code = """
import sys, importlib, pathlib
sys.modules["torch"] = None
names = ["stage_core.errors", "stage_core.story.shot_list", "stage_core.story.cinematography"]
folder = pathlib.Path("stage_core/planning")
names += [f"stage_core.planning.{path.stem}" for path in folder.glob("*.py")]
for name in names:
    importlib.import_module(name.removesuffix(".__init__"))
"""
    assert python(code) == ""


def test_importing_the_engine_prints_nothing_probes_nothing_and_changes_nothing():
    code = """
import pathlib, random, sys, torch
before = (torch.get_default_dtype(), torch.get_num_threads(), torch.random.get_rng_state().sum())
before += (random.getstate(), torch.is_grad_enabled(), sys.getrecursionlimit())
import stage_core.pipeline, stage_core.backends.load, stage_core.backends.tiny
import stage_core.project, stage_core.takes
after = (torch.get_default_dtype(), torch.get_num_threads(), torch.random.get_rng_state().sum())
after += (random.getstate(), torch.is_grad_enabled(), sys.getrecursionlimit())
assert before == after
assert not torch.cuda.is_initialized()
assert "diffusers" not in sys.modules and "transformers" not in sys.modules
"""
    assert python(code) == ""


def test_importing_the_story_costs_under_three_tenths_of_a_second_beyond_torch():
    code = """
import importlib, pathlib, time, torch
start = time.perf_counter()
for path in pathlib.Path("stage_core/story").glob("*.py"):
    importlib.import_module(f"stage_core.story.{path.stem}".removesuffix(".__init__"))
print(time.perf_counter() - start)
"""
    # The best of three, since other programs may be running.
    assert min(float(python(code)) for _ in range(3)) < 0.3
