"""The arrows of the architecture: who may import whom, and what importing may cost."""

import ast
import subprocess
import sys
from functools import cache
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
# The one module that opens a connection, what it may import for that, and who may import it.
CLIENT, CLIENT_ONLY = "command/chat.py", {"http", "urllib"}
PURE = {"torch", "einops"}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

# Folders and modules of the engine from below to above. Each may import those in its row and,
# like all, story and errors; training and the command line stand above everything.
ARROWS = {
    "errors": set(),
    "threads": set(),
    "packages": set(),
    "plurals": set(),
    "story": set(),
    "diffusion": set(),
    "kernels": {"atomic"},
    "offload": set(),
    "atomic": set(),
    "media": {"atomic"},
    "encoding": {"diffusion"},
    "models": {"kernels"},
    "backends": {
        *("encoding", "diffusion", "models", "offload", "media", "packages", "threads"),
    },
    "stories": set(),
    "planning": {"plurals"},
    "editing": {"atomic", "media", "plurals"},
    "ledger": {"atomic", "media"},
    "halfway": {"atomic"},
    "board_file": {"atomic"},
    "project": {"atomic", "media", "ledger", "halfway", "board_file"},
    "pipeline": {"planning", "editing", "backends.protocol"},
    "keys": {"backends.protocol"},
    "neighbours": {"atomic", "board_file", "ledger", "project"},
    "takes": {
        *("neighbours", "keys", "project", "ledger", "halfway", "pipeline", "backends.protocol"),
    },
    "cutting": {"pipeline", "editing", "backends.protocol"},
    "bench": {
        *("backends", "encoding", "models", "kernels", "offload", "diffusion"),
        *("pipeline", "planning", "project", "keys", "takes", "threads"),
    },
    "desk": {"planning", "project", "ledger", "editing", "media"},
    "sharing": {"desk", "project", "ledger", "media", "atomic"},
    "command": {
        *("planning", "stories", "encoding", "models", "offload", "bench", "atomic", "media"),
        *("backends.load", "backends.language", "backends.protocol", "pipeline", "cutting"),
        *("editing", "project", "neighbours", "takes", "sharing", "plurals"),
    },
}
ABOVE_ALL = {"__init__", "__main__", "training"}


@cache
def parsed(path):
    return ast.parse(path.read_text("utf-8"))


@cache
def nodes_of(path):
    """Every node of a file's tree with whether it is inside a function."""
    found, waiting = [], [(parsed(path), False)]
    while waiting:
        node, inside = waiting.pop()
        found.append((node, inside))
        inside = inside or isinstance(node, FUNCTIONS)
        waiting += [(child, inside) for child in ast.iter_child_nodes(node)]
    return found


@cache
def imports(path):
    """(dots, dotted name, whether inside a function) of every import in a file."""
    found = []
    for node, inside in nodes_of(path):
        if isinstance(node, ast.Import):
            found += [(0, alias.name, inside) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found += [(node.level, name, inside) for name in names]
    return found


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
    calls = [node for node, _ in nodes_of(path) if isinstance(node, ast.Call)]
    return {call.func.id for call in calls if isinstance(call.func, ast.Name)}


def part(path):
    """The folder or module right below stage_core that a file belongs to."""
    return path.relative_to(ROOT / "stage_core").with_suffix("").parts[0]


def short(path):
    return str(path.relative_to(ROOT))


def offenders(paths, what):
    """What is wrong in each file, by its name, where `what` finds anything."""
    found = {short(path): what(path) for path in paths}
    return {name: wrong for name, wrong in found.items() if wrong}


def test_the_engine_does_not_know_its_host_or_its_own_name():
    assert not offenders(ENGINE, lambda path: absolute(path) & (HOST | {"stage_core"}))


def test_imports_follow_the_arrows():
    def strays(path):
        here = part(path)
        allowed = {here, "errors", "story"} | ARROWS[here]
        return [
            name
            for name in within(path)
            if not any(name == way or name.startswith(f"{way}.") for way in allowed)
        ]

    assert not offenders([path for path in ENGINE if part(path) not in ABOVE_ALL], strays)


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


def test_heavy_libraries_are_imported_in_functions_of_backends():
    def misplaced(path):
        heavy = [it for it in imports(path) if it[0] == 0 and it[1].split(".")[0] in HEAVY]
        return [name for _, name, inside in heavy if not inside or part(path) != "backends"]

    assert not offenders(ENGINE, misplaced)


def test_the_pack_imports_nothing_at_its_top():
    names = [
        (dots, name) for dots, name, in_function in imports(ROOT / "__init__.py") if not in_function
    ]
    assert all(name == "__future__" for _, name in names)


def test_nothing_runs_foreign_code_or_opens_a_connection():
    def unsafe(path):
        allowed = CLIENT_ONLY if path == ROOT / "stage_core" / CLIENT else set()
        runs = called(path) & {"eval", "exec", "compile", "__import__"}
        return absolute(path) & (UNSAFE - allowed) | runs

    assert not offenders(SOURCES, unsafe)


def test_only_the_command_line_can_reach_a_server():
    client = ROOT / "stage_core" / CLIENT
    assert all(inside for dots, name, inside in imports(client) if name.split(".")[0] in UNSAFE)
    importers = {path.stem for path in ENGINE if "command.chat" in within(path)}
    assert importers == {"directing"}
    assert {path.stem for path in ENGINE if "command.directing" in within(path)} == {"__main__"}
    assert not any(name.endswith(("chat", "directing")) for p in NODES for _, name, _ in imports(p))


def test_only_the_command_line_prints():
    quiet = [path for path in SOURCES if path.name != "__main__.py"]
    assert not offenders(quiet, lambda path: called(path) & {"print"})


def test_sources_are_ascii():
    assert not offenders(SOURCES + TESTS, lambda path: not path.read_bytes().isascii())


def test_modules_have_at_most_400_lines_and_functions_40():
    def too_long(path):
        num_lines = path.read_bytes().count(b"\n")
        functions = [node for node, _ in nodes_of(path) if isinstance(node, FUNCTIONS)]
        long = [
            f"{it.name}, line {it.lineno}" for it in functions if it.end_lineno - it.lineno >= 40
        ]
        return [*long, f"{num_lines} lines"] if num_lines > 400 else long

    assert not offenders(SOURCES, too_long)


def test_every_module_says_what_it_is():
    assert not offenders(SOURCES, lambda path: not ast.get_docstring(parsed(path)))


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


def seconds_of_importing_the_story():
    """Beyond torch, in a fresh interpreter that then imports the engine and checks itself."""
    code = """
import importlib, pathlib, random, sys, time, torch
before = (torch.get_default_dtype(), torch.get_num_threads(), torch.random.get_rng_state().sum())
before += (random.getstate(), torch.is_grad_enabled(), sys.getrecursionlimit())
start = time.perf_counter()
for path in pathlib.Path("stage_core/story").glob("*.py"):
    importlib.import_module(f"stage_core.story.{path.stem}".removesuffix(".__init__"))
seconds = time.perf_counter() - start
import stage_core.pipeline, stage_core.backends.load, stage_core.backends.tiny
import stage_core.project, stage_core.takes
after = (torch.get_default_dtype(), torch.get_num_threads(), torch.random.get_rng_state().sum())
after += (random.getstate(), torch.is_grad_enabled(), sys.getrecursionlimit())
assert before == after
assert not torch.cuda.is_initialized()
assert "diffusers" not in sys.modules and "transformers" not in sys.modules
print(seconds)
"""
    # Anything more that is printed is no number.
    return float(python(code))


def test_importing_is_quick_prints_nothing_probes_nothing_and_changes_nothing():
    # Again when it was slow, since other programs may be running.
    assert any(seconds_of_importing_the_story() < 0.3 for _ in range(3))
