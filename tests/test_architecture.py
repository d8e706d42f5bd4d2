"""Imports point down, the core imports torch and numpy only, and files and functions stay small."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import collapse_logging

PACKAGE = Path(collapse_logging.__file__).parent

FLOORS = (
    {"posterior", "report", "messages", "words", "forecast", "arguments", "rows", "hook", "budget"}
    | {"terminal", "files", "outputs", "paths", "traced", "handshake", "priors", "on_demand"}
    | {"family", "families", "forms", "evidence", "moments", "listed", "gaussians"}
    | {"schedule", "alert_parts", "given", "attribute", "termination"},
    {"statistics", "cells", "measures", "pairs", "snapshot", "losses", "observation"}
    | {
        "shifts",
        "plain",
        "pile",
        "batch_sums",
        "fused",
        "kernels",
        "side_by_side",
        "gathered",
        "latents",
        "sums",
    }
    | {"taken"}
    | {"family_statistics", "family_measures", "own_measures"},
    {"rules", "limits", "levels", "alerts", "writers"},
    {"capture", "transfer", "window", "verdict", "responses", "probe", "delivery", "reading"}
    | {"ranks", "pooled", "remedies", "by_level"},
    {"monitor"},
    {"trainer", "namespaces", "lightning", "attach", "automatic", "huggingface", "training"},
    {"commands"},
    {"cli", "__init__"},
    {"__main__"},
)
"""From the ground up; a module of a subpackage lives on the subpackage's floor."""

TRACKERS = {
    "pytorch_lightning",
    "lightning",
    "wandb",
    "tensorboard",
    "matplotlib",
    "rich",
    "sklearn",
    "jsonargparse",
    "PIL",
    "mlflow",
    "trackio",
    "pyarrow",
    "wandb_workspaces",
}

OTHERS_ALLOWED = {
    "kernels": {"triton"},
    "writers.tensorboard": {"tensorboard"},
    "writers.board": {"tensorboard"},
    "writers.dashboard": {"tensorboard"},
    "writers.information_map": {"PIL"},
    "writers.wandb": {"wandb"},
    "reading.events": {"tensorboard"},
    "reading.wandb": {"wandb", "google"},
    "commands.figure": {"matplotlib"},
    "commands.panels": {"matplotlib"},
    "commands.watch": {"rich"},
    "writers.trackio": {"trackio"},
    "writers.mlflow": {"mlflow"},
    "commands.wandb_view": {"wandb_workspaces"},
    "training.demo": {"rich", "wandb"},
    "training.data": {"sklearn"},
    "training.digits": {"pytorch_lightning"},
    "training.folder": {"pyarrow"},
    "training.patients": {"pytorch_lightning"},
    "training.run": {"pytorch_lightning", "rich"},
    "training.seqset": {"pytorch_lightning"},
    "training.text": {"pytorch_lightning"},
    "commands.make_data": {"rich"},
    "lightning": {"pytorch_lightning"},
    "attach": {"pytorch_lightning"},
    "automatic": {"jsonargparse"},
    "huggingface": {"transformers"},
    "cli": {"pytorch_lightning"},
}
"""Beside torch, numpy and the standard library, who may import what."""

AT_THE_TOP = {
    "huggingface",
    "kernels",
    "training.digits",
    "training.patients",
    "training.run",
    "training.seqset",
    "training.text",
}
"""A LightningModule cannot be defined without Lightning; it is imported by the command alone."""


def sources():
    """Every module's name below the package, and its source."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)
        yield name, path.read_text(encoding="utf-8")


SOURCES = dict(sources())


def imports(name, source):
    """Modules that a module imports: (target, whether at run time, whether inside a function)."""
    parts = name.split(".")
    package = parts if PACKAGE.joinpath(*parts).is_dir() else parts[:-1]
    found = []

    def visit(node, running, inside):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.body:
                visit(child, False, inside)
            for child in node.orelse:
                visit(child, running, inside)
            return
        if isinstance(node, ast.Import):
            found.extend((alias.name, running, inside) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            found.extend((target, running, inside) for target in targets(node, package))
        inside = inside or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.iter_child_nodes(node):
            visit(child, running, inside)

    visit(ast.parse(source), True, False)
    return found


def targets(node, package):
    """What an ``import from`` names, our own modules with a leading dot."""
    if not node.level:
        return [node.module]
    above = package[: len(package) - node.level + 1]
    if node.module:
        return ["." + ".".join([*above, node.module])]
    wanted = [".".join([*above, alias.name]) for alias in node.names]
    return ["." + (path if path in SOURCES else ".".join(above) or "__init__") for path in wanted]


def floor(name):
    """The floor of a module, by its first part."""
    first = name.split(".")[0]
    return next((level for level, names in enumerate(FLOORS) if first in names), None)


def upward(name, source):
    """Our own modules that a module imports from a higher floor."""
    own = [target[1:] for target, _, _ in imports(name, source) if target.startswith(".")]
    return [target for target in own if floor(target) > floor(name)]


def cycle(edges):
    """A cycle of modules that import each other while they are being loaded, or []."""

    def walk(name, path):
        if name in path:
            return [*path[path.index(name) :], name]
        for target in edges.get(name, ()):
            if found := walk(target, [*path, name]):
                return found
        return []

    return next((found for name in edges if (found := walk(name, []))), [])


def others(name, source):
    """Packages of other people's beside torch and numpy, and whether at the top of the module."""
    found = set()
    for target, running, inside in imports(name, source):
        package = "tensorboard" if "tensorboard" in target else target.split(".")[0]
        at_home = package in sys.stdlib_module_names or package in ("torch", "numpy")
        if not target.startswith(".") and not at_home:
            found.add((package, running and not inside))
    return found


@pytest.mark.parametrize(("name", "source"), SOURCES.items(), ids=SOURCES)
def test_imports_point_down(name, source):
    """A module imports from its own floor or from below; a new module must be given a floor."""
    assert floor(name) is not None, f"give {name} a place in FLOORS"
    assert upward(name, source) == []


def test_the_floor_test_can_fail():
    """An import from above is found, be it at the top, in a function or for type checkers."""
    assert upward("posterior", "from .measures import kl") == ["measures"]
    assert upward("cells", "def f():\n    from . import monitor") == ["monitor"]
    above = "if TYPE_CHECKING:\n    from ..cli import main"
    assert upward("writers.base", above) == ["cli"]
    assert upward("window", "from . import measures, __version__") == ["__init__"]


def test_no_two_modules_import_each_other():
    """Imports that run while a module is loaded have no cycle."""
    edges = {
        name: {t[1:] for t, running, inside in imports(name, source) if running and not inside}
        & SOURCES.keys()
        for name, source in SOURCES.items()
    }
    assert cycle(edges) == []
    assert edges["monitor"] >= {"capture", "window", "verdict"}


def test_the_cycle_test_can_fail():
    """A cycle over three modules is found."""
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]


@pytest.mark.parametrize(("name", "source"), SOURCES.items(), ids=SOURCES)
def test_trackers_are_imported_only_where_they_are_used(name, source):
    """Beside torch and numpy a module imports what its table allows, and inside functions."""
    found = others(name, source)
    assert {package for package, _ in found} <= OTHERS_ALLOWED.get(name, set())
    assert name in AT_THE_TOP or not any(at_the_top for _, at_the_top in found)


def test_the_tracker_test_can_fail():
    """A tracker is found at the top and in a function, TensorBoard under its name in torch too."""
    assert others("window", "import wandb") == {("wandb", True)}
    assert others("window", "def f():\n    import matplotlib.pyplot") == {("matplotlib", False)}
    at_the_top = "from torch.utils.tensorboard import SummaryWriter"
    assert others("window", at_the_top) == {("tensorboard", True)}


def run_python(code):
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout.split()


LIST_NEW = (
    "import sys, torch, numpy; before = set(sys.modules); {}; print(*(set(sys.modules) - before))"
)
"""Prints the modules that a statement loads over torch and numpy."""


def foreign(modules):
    """Top-level packages that are neither ours nor the standard library's."""
    tops = {name.split(".")[0] for name in modules}
    return tops - {"collapse_logging"} - set(sys.stdlib_module_names)


def test_importing_the_package_imports_torch_and_numpy_only():
    """In a fresh interpreter no tracker and no part of torch that is imported late comes along."""
    new = run_python(LIST_NEW.format("from collapse_logging import CollapseMonitor, writers"))
    assert "collapse_logging.monitor" in new
    assert foreign(new) - {"torch", "numpy"} == set()
    assert not {"torch.utils.tensorboard", "torch._dynamo"} & set(new)
    assert not [name for name in new if name.split(".")[0] in TRACKERS]


def test_the_import_test_can_fail():
    """A tracker that is imported in a fresh interpreter is seen."""
    new = run_python(LIST_NEW.format("import collapse_logging, rich"))
    assert "rich" in foreign(new)


def test_a_training_that_did_not_ask_pays_nothing():
    """What Lightning asks in every process that has the package loads neither torch nor ours."""
    code = (
        "import sys, os; os.environ.pop('COLLAPSE_LOGGING', None); before = set(sys.modules); "
        "import collapse_logging.automatic as a; assert a.callbacks() == []; "
        "print(*(set(sys.modules) - before))"
    )
    new = run_python(code)
    assert "torch" not in new
    assert {name for name in new if "." in name and "collapse" in name} == {
        "collapse_logging.automatic",
        "collapse_logging.on_demand",
    }


def test_importing_the_package_is_cheap():
    """Over torch and numpy it loads its own small modules; its time is printed, capped loosely."""
    code = (
        "import sys, time, torch, numpy; before = len(sys.modules); start = time.process_time(); "
        "import collapse_logging.monitor; "
        "print(time.process_time() - start, len(sys.modules) - before)"
    )
    seconds, modules = run_python(code)
    print(f"import over torch and numpy: {float(seconds):.3f} s, {modules} modules")
    assert int(modules) <= 115
    assert float(seconds) < 1.0


@pytest.mark.parametrize(("name", "source"), SOURCES.items(), ids=SOURCES)
def test_files_and_functions_are_small(name, source):
    """A file has fewer than 250 lines, a function's body without its docstring fewer than 40."""
    assert len(source.splitlines()) < 250
    long = [f"{function} {lines}" for function, lines in bodies(source) if lines >= 40]
    assert long == []


def test_the_size_test_can_fail():
    """A body of forty lines is counted as forty, whatever its docstring and signature."""
    source = 'def f(\n    a,\n):\n    """Doc.\n\n    More.\n    """\n' + "    a += 1\n" * 40
    assert bodies(source) == [("f", 40)]


def bodies(source):
    """Every function with the lines of its body, docstring and signature aside."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            found.append((node.name, lines))
    return found
