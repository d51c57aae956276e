"""The layout of jaxrnn, checked on the text of its files: floors, cycles, `__all__`, names.

A check is a function of one `Source` (path, text), or of all of them, that returns what it found as
readable lines; no line means that all is well. The tests at the end show each check a bad source.
"""

import ast
import pathlib
import sys
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = "jaxrnn"
MAX_LINES = 400

FLOORS = {
    "_version": 0, "_compat": 0, "core": 0, "tasks": 0,
    "cells": 1,
    "wrappers": 2,
    "unrolls": 3, "online": 3,
    "layers": 4, "kernels": 4, "analysis": 4, "testing": 4,
    "train": 5, "interop": 5, "sharding": 5, "bench": 5,
    "plots": 6, "cli": 6, "__main__": 6,
    "": 7,  # the root `__init__`
}  # fmt: skip
SELF_CONTAINED = {"core", "tasks", "_version", "_compat"}
LEAVES = {"_version", "_compat"}  # what the self-contained may import all the same

REQUIRED = {"jax", "jaxlib", "numpy", "optax", "chex", PACKAGE} | sys.stdlib_module_names
EXTRA_AT_MODULE_LEVEL = {"plots": {"matplotlib"}}  # nothing else loads plots but on demand
EXECUTES_DATA = {"pickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
NAMED_TUPLE = {"_replace", "_asdict", "_fields", "_make"}  # public, in spite of their names


class Source(NamedTuple):
    """One file: its path relative to the repository's root, with forward slashes, and its text."""

    path: str
    text: str

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    @property
    def is_package(self) -> bool:
        return self.path.endswith("/__init__.py")

    @property
    def module(self) -> str:
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


class Import(NamedTuple):
    """`from module import name` (name None: `import module`), with relative dots resolved."""

    line: int
    module: str
    name: str | None


def sources() -> list[Source]:
    files = sorted((ROOT / PACKAGE).rglob("*.py"))
    return [Source(f.relative_to(ROOT).as_posix(), f.read_text(encoding="utf-8")) for f in files]


# What a source says


def absolute(node: ast.ImportFrom, source: Source) -> str:
    """The absolute name of the module that `node` imports from."""
    if not node.level:
        return node.module or ""
    drop = node.level - source.is_package
    parents = source.module.split(".")
    return ".".join(parents[: len(parents) - drop] + ([node.module] if node.module else []))


def imports(source: Source, nodes: Iterable[ast.AST] | None = None) -> Iterator[Import]:
    """Every import, in functions too, and `import_module("...")` with a literal name."""
    for node in ast.walk(source.tree) if nodes is None else nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, alias.name, None)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield Import(node.lineno, absolute(node, source), alias.name)
        elif isinstance(node, ast.Call) and dotted(node.func).rpartition(".")[2] in {
            "import_module",
            "__import__",
        }:
            for argument in node.args[:1]:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield Import(node.lineno, argument.value, None)


def dotted(node: ast.AST) -> str:
    """`a.b.c` for such an expression, else ""."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""


def targets(source: Source, known: set[str]) -> dict[str, int]:
    """The modules of jaxrnn that `source` imports, with the first line that does.

    `from package import name` means the module `package.name` where there is one, else the package.
    """
    found: dict[str, int] = {}
    for line, module, name in imports(source):
        if module != PACKAGE and not module.startswith(f"{PACKAGE}."):
            continue
        target = f"{module}.{name}" if name and f"{module}.{name}" in known else module
        if target != source.module or not source.is_package:
            found.setdefault(target, line)
    return found


def part(module: str) -> str:
    """What stands directly under jaxrnn: `cells` for `jaxrnn.cells.lstm`, "" for the root."""
    return (module.split(".") + [""])[1]


def at_module_level(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """The nodes that run when the module is imported: none in functions or under TYPE_CHECKING."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.If) and dotted(node.test).rpartition(".")[2] == "TYPE_CHECKING":
            yield from at_module_level(node.orelse)
            continue
        yield node
        yield from at_module_level(ast.iter_child_nodes(node))


def bound(source: Source) -> set[str]:
    """The names that importing the module binds in it."""
    names: set[str] = set()

    def visit(body: Iterable[ast.AST]) -> None:
        for node in body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                names.add(node.name)
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                names.update(a.asname or a.name.partition(".")[0] for a in node.names)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
            elif not isinstance(node, ast.Lambda):
                visit(ast.iter_child_nodes(node))

    visit(source.tree.body)
    return names


def public(source: Source) -> list[str] | None:
    """The names of a literal `__all__`, or None where there is no such thing."""
    for node in source.tree.body:
        if isinstance(node, ast.Assign):
            assigned, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign):
            assigned, value = [node.target], node.value
        else:
            continue
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in assigned):
            try:
                names = ast.literal_eval(value)
            except (ValueError, TypeError):
                return None
            return list(names) if all(isinstance(name, str) for name in names) else None
    return None


# The checks


def upward_imports(source: Source, known: set[str]) -> list[str]:
    here = part(source.module)
    if here not in FLOORS:
        return [f"{source.path}: `{here}` has no floor; give it one in FLOORS"]
    problems = []
    for target, line in targets(source, known).items():
        there = part(target)
        at = f"{source.path}:{line}: imports {target}"
        if there not in FLOORS:
            problems.append(f"{at}, which has no floor")
        elif FLOORS[there] > FLOORS[here]:
            problems.append(f"{at}, floor {FLOORS[there]}, from floor {FLOORS[here]}")
        elif here in SELF_CONTAINED and there not in {here} | LEAVES:
            problems.append(f"{at}, but `{here}` imports nothing of jaxrnn outside itself")
    return problems


def import_cycles(all_sources: Iterable[Source]) -> list[str]:
    all_sources = list(all_sources)
    known = {source.module for source in all_sources}
    graph = {source.module: sorted(targets(source, known)) for source in all_sources}
    cycles: list[str] = []
    done: set[str] = set()

    def visit(module: str, trail: list[str]) -> None:
        if module in trail:
            cycles.append("import cycle: " + " -> ".join([*trail[trail.index(module) :], module]))
        elif module not in done:
            for target in graph.get(module, []):
                visit(target, [*trail, module])
            done.add(module)

    for module in sorted(graph):
        visit(module, [])
    return cycles


def bad_all(source: Source) -> list[str]:
    if source.path.endswith("/__main__.py"):
        return []  # it is run, never imported from
    names = public(source)
    if names is None:
        return [f"{source.path}: no `__all__` that is a literal list of names"]
    problems = [
        f"{source.path}:{line}: `from {module} import *` hides which names exist"
        for line, module, name in imports(source)
        if name == "*"
    ]
    exist = bound(source)
    problems += [f"{source.path}: `__all__` names {n!r}, unknown" for n in names if n not in exist]
    if len(set(names)) < len(names):
        problems.append(f"{source.path}: `__all__` names something twice")
    return problems


def too_long(source: Source) -> list[str]:
    lines = len(source.text.splitlines())
    return [f"{source.path}: {lines} lines, over {MAX_LINES}"] if lines > MAX_LINES else []


def shared_names(root: Source, known: set[str]) -> list[str]:
    """Packages and modules directly under jaxrnn named like something else the root offers."""
    modules = {part(module) for module in known} - {""}
    themselves = {
        name for _, module, name in imports(root) if module == PACKAGE and name in modules
    }
    return [
        f"{root.path}: {name!r} is a public name and a module, so one hides the other"
        for name in public(root) or []
        if name in modules - themselves
    ]


def private(name: str) -> bool:
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__"))


def private_jax(source: Source) -> list[str]:
    problems = []
    aliases = {"jax"}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            aliases |= {
                alias.asname for alias in node.names
                if alias.asname and alias.name.partition(".")[0] in {"jax", "jaxlib"}
            }  # fmt: skip
        elif isinstance(node, ast.ImportFrom) and not node.level:
            if (node.module or "").partition(".")[0] in {"jax", "jaxlib"}:
                aliases |= {alias.asname or alias.name for alias in node.names}
    for line, module, name in imports(source):
        path = f"{module}.{name}" if name else module
        if module.partition(".")[0] in {"jax", "jaxlib"} and any(map(private, path.split("."))):
            problems.append(f"{source.path}:{line}: imports the private {path}")
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and private(node.attr):
            if dotted(node).partition(".")[0] in aliases and node.attr not in NAMED_TUPLE:
                problems.append(f"{source.path}:{node.lineno}: uses the private {dotted(node)}")
    return problems


def executes_data(source: Source) -> list[str]:
    problems = [
        f"{source.path}:{line}: imports {module}"
        for line, module, _ in imports(source)
        if module.partition(".")[0] in EXECUTES_DATA
    ]
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func)
        if name in {"eval", "exec", "builtins.eval", "builtins.exec"}:
            problems.append(f"{source.path}:{node.lineno}: calls {name}")
        for keyword in node.keywords:
            refused = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
            if keyword.arg == "allow_pickle" and not refused:
                problems.append(f"{source.path}:{node.lineno}: may load a pickle")
    return problems


def heavy_imports(source: Source) -> list[str]:
    """Imports at module level of what a plain `pip install jaxrnn` does not declare."""
    allowed = REQUIRED | EXTRA_AT_MODULE_LEVEL.get(part(source.module), set())
    return [
        f"{source.path}:{line}: imports {module} at module level, not in a function"
        for line, module, _ in imports(source, at_module_level(source.tree.body))
        if module.partition(".")[0] not in allowed
    ]


# jaxrnn itself

SOURCES = sources()
KNOWN = {source.module for source in SOURCES}
each_source = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.path)


def test_there_is_a_root_and_every_directory_of_sources_is_a_package():
    assert PACKAGE in KNOWN
    parents = {source.path.rpartition("/")[0].replace("/", ".") for source in SOURCES}
    assert parents <= KNOWN


@each_source
def test_imports_come_from_lower_floors(source):
    assert upward_imports(source, KNOWN) == []


@each_source
def test_all_is_there_and_true(source):
    assert bad_all(source) == []


@each_source
def test_files_are_short(source):
    assert too_long(source) == []


@each_source
def test_only_public_jax(source):
    assert private_jax(source) == []


@each_source
def test_data_is_never_executed(source):
    assert executes_data(source) == []


@each_source
def test_extras_are_imported_where_they_are_used(source):
    assert heavy_imports(source) == []


def test_no_import_cycles():
    assert import_cycles(SOURCES) == []


def test_no_module_hides_a_public_name():
    root = next(source for source in SOURCES if source.module == PACKAGE)
    assert shared_names(root, KNOWN) == []


# The checks themselves

MODULES = {
    PACKAGE, "jaxrnn.core", "jaxrnn.core.types", "jaxrnn.tasks", "jaxrnn.cells",
    "jaxrnn.cells.lstm", "jaxrnn.unrolls", "jaxrnn.unrolls.scan", "jaxrnn.analysis",
    "jaxrnn._version",
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "text", "found"),
    [
        ("cells/lstm.py", "from jaxrnn.unrolls import unroll", True),
        ("cells/lstm.py", "from jaxrnn.unrolls.scan import unroll", True),
        ("cells/lstm.py", "import jaxrnn.unrolls.scan", True),
        ("cells/lstm.py", "from ..unrolls import scan", True),
        ("cells/lstm.py", "from .. import unrolls", True),
        ("cells/__init__.py", "from ..unrolls.scan import unroll", True),
        ("cells/lstm.py", "def f():\n    from jaxrnn.unrolls import unroll", True),
        ("cells/lstm.py", "import importlib\nimportlib.import_module('jaxrnn.unrolls')", True),
        ("cells/lstm.py", "import jaxrnn", True),
        ("cells/lstm.py", "from jaxrnn import lstm", True),
        ("core/types.py", "from jaxrnn.tasks import adding", True),
        ("tasks/adding.py", "from jaxrnn.core import types", True),
        ("cells/lstm.py", "from jaxrnn.nowhere import x", True),
        ("nowhere/x.py", "", True),
        ("cells/lstm.py", "from jaxrnn.core import Cell\nfrom . import gru\nimport jax", False),
        ("cells/__init__.py", "from .lstm import lstm\nfrom ..core.types import Cell", False),
        ("core/types.py", "from jaxrnn._version import __version__\nfrom .cell import x", False),
        ("unrolls/scan.py", "from jaxrnn.cells.lstm import lstm", False),
        ("__init__.py", "from .analysis import x\nfrom jaxrnn.unrolls import unroll", False),
        ("__main__.py", "from jaxrnn.cli import main", False),
    ],
)
def test_upward_imports(path, text, found):
    assert bool(upward_imports(Source(f"{PACKAGE}/{path}", text), MODULES)) is found


def test_import_cycles():
    one = Source("jaxrnn/cells/one.py", "from jaxrnn.cells import two")
    two = Source("jaxrnn/cells/two.py", "def f():\n    from .three import x")
    three = Source("jaxrnn/cells/three.py", "from jaxrnn.cells.one import x")
    package = Source("jaxrnn/cells/__init__.py", "from .one import x")
    from_package = Source("jaxrnn/cells/one.py", "from jaxrnn.cells import x")
    assert import_cycles([package, one, two]) == []
    assert len(import_cycles([package, one, two, three])) == 1
    assert len(import_cycles([package, from_package])) == 1


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("x = 1", True),
        ("__all__ = ['x', 'y']\nx = 1", True),
        ("__all__ = ['x', 'x']\nx = 1", True),
        ("__all__ = [name for name in 'x']\nx = 1", True),
        ("__all__ = ['x']\ndef f():\n    x = 1", True),
        ("from .y import *\n__all__ = []", True),
        ("__all__ = ['x', 'C', 'f', 'y', 'z']\nx: int = 1\nclass C: ...\ndef f(): ...\n"
         "from a import b as y\nif x:\n    z, w = 1, 2", False),
        ("__all__: tuple[str, ...] = ()", False),
    ],
)  # fmt: skip
def test_bad_all(text, found):
    assert bool(bad_all(Source("jaxrnn/cells/x.py", text))) is found
    assert not bad_all(Source("jaxrnn/__main__.py", "main()"))


def test_too_long():
    assert too_long(Source("jaxrnn/cells/x.py", "x = 1\n" * (MAX_LINES + 1)))
    assert not too_long(Source("jaxrnn/cells/x.py", "x = 1\n" * MAX_LINES))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("from .analysis.spectra import analysis\n__all__ = ['analysis']", True),
        ("from .core.types import tasks as tasks\n__all__ = ['tasks']", True),
        ("from . import analysis as analysis\n__all__ = ['analysis']", False),
        ("from jaxrnn import analysis\n__all__ = ['analysis']", False),
        ("from .unrolls import unroll as unroll\n__all__ = ['unroll']", False),
    ],
)
def test_shared_names(text, found):
    assert bool(shared_names(Source("jaxrnn/__init__.py", text), MODULES)) is found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import jax._src.core", True),
        ("from jax._src import core", True),
        ("from jax import _src", True),
        ("def f():\n    from jax.numpy import _private", True),
        ("import jax\njax._src.core", True),
        ("import jax\njax.lax._private()", True),
        ("import jax.numpy as jnp\njnp._private()", True),
        ("from jax import lax\nlax._private", True),
        ("import jax\njax.__version__", False),
        ("from jax.sharding import PartitionSpec\nimport jax.numpy as jnp\njnp.zeros(3)", False),
        ("def f(cell):\n    return cell._replace(step=None)", False),
        ("from jax import Array\nfrom numpy import _private", False),
    ],
)
def test_private_jax(text, found):
    assert bool(private_jax(Source("jaxrnn/cells/x.py", text))) is found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import pickle", True),
        ("from cloudpickle import dumps", True),
        ("def f():\n    import pickle as p", True),
        ("eval('1')", True),
        ("exec('1')", True),
        ("import builtins\nbuiltins.exec('1')", True),
        ("import numpy as np\nnp.load('x', allow_pickle=True)", True),
        ("import numpy as np\nnp.load('x', allow_pickle=flag)", True),
        ("import numpy as np\nnp.load('x', allow_pickle=False)", False),
        ("model.eval()\nevaluate('x')", False),
    ],
)
def test_executes_data(text, found):
    assert bool(executes_data(Source("jaxrnn/train/x.py", text))) is found


@pytest.mark.parametrize(
    ("path", "text", "found"),
    [
        ("cli/report.py", "import matplotlib.pyplot as plt", True),
        ("analysis/x.py", "from tqdm import tqdm", True),
        ("interop/x.py", "try:\n    import torch\nexcept ImportError:\n    torch = None", True),
        ("interop/x.py", "class A:\n    import flax", True),
        ("plots/x.py", "import torch", True),
        ("plots/x.py", "import matplotlib.pyplot as plt", False),
        ("cli/report.py", "def f():\n    import matplotlib", False),
        ("cli/report.py", "class A:\n    def f(self):\n        import tqdm", False),
        (
            "interop/x.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch",
            False,
        ),
        ("train/x.py", "import jax, optax, numpy, chex, json\nfrom . import loop", False),
    ],
)
def test_heavy_imports(path, text, found):
    assert bool(heavy_imports(Source(f"{PACKAGE}/{path}", text))) is found
