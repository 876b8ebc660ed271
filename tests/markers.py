"""The markers that a test gets, found in the source, so that nobody keeps lists of tests.

`torch` stands on a test whose module, whose fixtures or whose own body import PyTorch, directly or
through another module. `gpu` and `browser` stand on a test that uses the fixture of that name's
driver. conftest.py puts them on.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import vit_convert

TESTS = Path(__file__).parent
PACKAGE = Path(vit_convert.__file__).parent
# A test that uses the fixture on the left gets the marker on the right.
OF_FIXTURE = {"driver": "gpu", "chromium": "browser"}
PYTORCH = ("torch", "torchvision", "timm", "transformers", "safetensors.torch")


def imported(source: str, inside_functions: bool) -> Iterator[str]:
    """Full names that a piece of source imports, but for type checkers.

    Imports inside of functions count only where asked for: importing the module does not run them.
    """

    def visit(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not inside_functions:
            return
        else:
            for child in ast.iter_child_nodes(node):
                yield from visit(child)

    yield from visit(ast.parse(source))


def module_file(name: str, folder: Path) -> Path | None:
    """The file of a module of the package, or of a helper of the tests beside `folder`."""
    package, _, rest = name.partition(".")
    places = [PACKAGE] if package == PACKAGE.name else [folder, *folder.parents]
    relative = rest.replace(".", "/") if package == PACKAGE.name else name.replace(".", "/")
    for place in places:
        for path in (place / f"{relative}.py", place / relative / "__init__.py"):
            if path.is_file() and (PACKAGE in path.parents or TESTS in path.parents):
                return path
    return None


def is_pytorch(name: str) -> bool:
    """Whether a name is PyTorch's, or of a library that stands on it."""
    return any(name == package or name.startswith(f"{package}.") for package in PYTORCH)


@cache
def imports_of_file(path: Path) -> tuple[tuple[str, ...], tuple[Path, ...]]:
    """What importing a file imports: all the names, and our own files among them."""
    names = tuple(imported(path.read_text(encoding="utf-8"), False))
    return names, tuple(filter(None, (module_file(name, path.parent) for name in names)))


def need_pytorch(names: Iterable[str], files: Iterable[Path]) -> bool:
    """Whether PyTorch is among the names, or among what the files import, however far away."""
    seen: set[Path] = set()
    waiting = list(files)
    if any(map(is_pytorch, names)):
        return True
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            names, others = imports_of_file(path)
            waiting += others
            if any(map(is_pytorch, names)):
                return True
    return False


@cache
def file_needs_pytorch(path: Path) -> bool:
    """Whether importing a test module, and the conftest.py files above it, needs PyTorch."""
    folders = [folder for folder in path.parents if folder == TESTS or TESTS in folder.parents]
    above = [folder / "conftest.py" for folder in folders]
    return need_pytorch((), [path, *filter(Path.is_file, above)])


@cache
def function_needs_pytorch(function: Callable[..., Any]) -> bool:
    """Whether the module of a test or fixture imports PyTorch, or the function itself does."""
    function = inspect.unwrap(function)
    file = Path(inspect.getsourcefile(function) or "/")
    if TESTS not in file.parents:
        return False
    body = textwrap.dedent(inspect.getsource(function))
    names = list(imported(body, True))
    files = filter(None, (module_file(name, file.parent) for name in names))
    return file_needs_pytorch(file) or need_pytorch(names, files)


def markers_of(item: pytest.Function) -> set[str]:
    """The markers that a test must carry."""
    fixtures = item._fixtureinfo.name2fixturedefs
    found = {marker for fixture, marker in OF_FIXTURE.items() if fixture in fixtures}
    functions = [item.function, *(definitions[-1].func for definitions in fixtures.values())]
    if any(function_needs_pytorch(function) for function in functions):
        found.add("torch")
    return found
