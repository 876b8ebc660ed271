"""The markers that a test gets, found in the source, so that nobody keeps lists of tests.

`reach` follows a test through its module, its fixtures, and the functions of tests/ that they call,
and gives the full names of all that they import or use. `torch` and `slow` follow from those names,
`gpu` and `browser` from the fixtures alone. conftest.py puts the markers on.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import vit_convert

TESTS = Path(__file__).parent
PACKAGE = Path(vit_convert.__file__).parent
# A test that uses the fixture on the left gets the marker on the right.
OF_FIXTURE = {"driver": "gpu", "chromium": "browser"}
# A test that reaches one of these names, or a name inside of it, gets the marker.
OF_NAME = {
    "torch": (
        *("torch", "torchvision", "timm", "transformers", "safetensors.torch"),
        "vit_convert.parity.sources.torch_compat.import_vision",  # imports them by name
    ),
    "slow": (  # imports TensorFlow, or may do so
        *("tensorflow", "tf_keras", "keras", "tensorflow_hub"),
        *("vit_convert.exporters.export", "vit_convert.exporters.export_all"),
        *("vit_convert.exporters.open_artifact", "vit_convert.exporters.keras_h5"),
        *("vit_convert.models", "vit_convert.browser.site", "vit_convert.parity.verify"),
    ),
}


@cache
def parsed(file: Path) -> ast.Module:
    """The source of a module of tests/."""
    return ast.parse(file.read_text(encoding="utf-8"))


@cache
def functions_of(file: Path) -> dict[tuple[int, str], ast.AST]:
    """(first line, as its code object counts; name) -> a function of a module of tests/."""
    found: dict[tuple[int, str], ast.AST] = {}
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.FunctionDef):
            lines = [node.lineno, *(decorator.lineno for decorator in node.decorator_list)]
            found[min(lines), node.name] = node
        elif isinstance(node, ast.Lambda):
            found[node.lineno, "<lambda>"] = node
    return found


def imported(source: ast.AST, inside_functions: bool) -> Iterator[str]:
    """The full names that a piece of source imports, except those that only a type checker sees.

    Imports inside functions count only where asked for: importing the module does not run them.
    """

    def passed_over(node: ast.AST) -> bool:
        if isinstance(node, ast.If):
            return "TYPE_CHECKING" in ast.unparse(node.test)
        return isinstance(node, ast.FunctionDef) and not inside_functions

    def visit(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.expr):
            return  # which holds no statement
        elif not passed_over(node):
            for child in ast.iter_child_nodes(node):
                yield from visit(child)

    yield from visit(source)


def helper_file(name: str, folder: Path) -> Path | None:
    """The file of a module of tests/ that has this full name, or holds it; None where none does."""
    parts = name.split(".")
    for place in (folder, *folder.parents):
        if place == TESTS or TESTS in place.parents:
            for count in range(len(parts), 0, -1):
                file = place.joinpath(*parts[:count]).with_suffix(".py")
                if file.is_file():
                    return file
    return None


@cache
def names_of_file(path: Path) -> frozenset[str]:
    """All names that importing a module of tests/ imports, and its conftest.py files before it."""
    folders = [folder for folder in path.parents if folder == TESTS or TESTS in folder.parents]
    waiting = [path, *(folder / "conftest.py" for folder in folders)]
    names: set[str] = set()
    seen: set[Path] = set()
    while waiting:
        file = waiting.pop()
        if file.is_file() and file not in seen:
            seen.add(file)
            found = set(imported(parsed(file), False))
            names |= found
            waiting += filter(None, (helper_file(name, file.parent) for name in found))
    return frozenset(names)


def full_name(value: Any) -> str:
    """The full name of a module, function or class; "" for anything else."""
    if isinstance(value, ModuleType):
        return value.__name__
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', '')}"


@cache
def reach(function: Callable[..., Any]) -> frozenset[str]:
    """The full names that a function of tests/ uses, itself and through the functions it calls."""
    names: set[str] = set()
    waiting, seen = [function], set()
    while waiting:
        current = inspect.unwrap(waiting.pop())
        file = Path(inspect.getsourcefile(current) or "/")
        if current in seen or TESTS not in file.parents:
            continue
        seen.add(current)
        code = current.__code__
        body = functions_of(file)[code.co_firstlineno, code.co_name]
        inside = set(imported(body, True))
        names |= inside
        for name in inside:
            helper = helper_file(name, file.parent)
            names |= names_of_file(helper) if helper else frozenset()
        used = {node.id for node in ast.walk(body) if isinstance(node, ast.Name)}
        values = [value for name, value in current.__globals__.items() if name in used]
        names.update(map(full_name, values))
        waiting += filter(inspect.isfunction, values)
    return frozenset(names)


def found_in(names: Iterable[str], marker: str) -> bool:
    """Whether a marker follows from one of the names."""
    return any(
        name == marked or name.startswith(f"{marked}.")
        for name in names
        for marked in OF_NAME[marker]
    )


@cache
def needs_pytorch(path: Path) -> bool:
    """Whether a module of tests/ cannot be imported where PyTorch is missing."""
    names = names_of_file(path)
    importable = "vit_convert.parity.sources.torch_compat.import_vision"  # until it is called
    return found_in(names - {importable}, "torch")


def markers_of(item: pytest.Function) -> set[str]:
    """The markers that a test must carry."""
    fixtures = item._fixtureinfo.name2fixturedefs
    found = {marker for fixture, marker in OF_FIXTURE.items() if fixture in fixtures}
    hypothesis = getattr(item.function, "hypothesis", None)  # stands in for the test
    test = hypothesis.inner_test if hypothesis else item.function
    used = frozenset(defined[-1].func for defined in fixtures.values())
    return found | _markers(test, used, item.path)


@cache
def _markers(
    test: Callable[..., Any], fixtures: frozenset[Callable[..., Any]], path: Path
) -> frozenset[str]:
    """Those of a test, whatever its parameters, that follow from the names it reaches."""
    names = reach(test).union(*map(reach, fixtures))
    found = {marker for marker in OF_NAME if found_in(names, marker)}
    return frozenset(found | {"torch"} if needs_pytorch(path) else found)
