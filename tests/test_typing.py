"""`py.typed` holds: type checkers see what each public name is, in a program of somebody else's."""

from __future__ import annotations

import ast
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import pytest

import vit_convert
from vit_convert.architectures import Preprocessing, TransformerConfig, architectures
from vit_convert.architectures.options import ModelOptions

HOME = Path(vit_convert.__file__).parent.parent
PROGRAM = Path(__file__).parent / "typed_program.py"


# What nothing public shows, and what takes minutes to read.
UNREAD = "torch timm torchvision transformers tensorflow tf_keras keras ray pyarrow matplotlib"
MISTAKEN = """\
import vit_convert
name: int = vit_convert.predict("m.tflite", "a.jpg")[0].name
"""


def check_with_mypy(folder: Path) -> list[tuple[str, str]]:
    """What `mypy --strict` says of the programs in a folder: (file, message).

    It finds this package as an installed one, whose modules are followed and not checked: the
    package has settings of its own.
    """
    lines = ["[mypy]", "strict = True", "follow_imports = silent"]
    lines += [f"[mypy-{name}.*]\nfollow_imports = skip" for name in UNREAD.split()]
    (folder / "mypy.ini").write_text("\n".join(lines))
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", "--cache-dir=cache", "."],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "MYPYPATH": str(HOME)},
    )
    assert not done.stderr
    return [(line.partition(":")[0], line) for line in done.stdout.splitlines()]


def check_with_pyright(folder: Path) -> list[tuple[str, str]]:
    """The same of pyright, in its strict mode."""
    settings = {
        "include": ["*.py"],
        "extraPaths": [str(HOME)],
        "typeCheckingMode": "strict",
        "reportUnnecessaryTypeIgnoreComment": "error",
        "useLibraryCodeForTypes": True,
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable],
        capture_output=True,
        text=True,
        cwd=folder,
    )
    found = json.loads(done.stdout)["generalDiagnostics"]
    return [(Path(each["file"]).name, f"{each['range']}: {each['message']}") for each in found]


CHECKERS = {"mypy": check_with_mypy, "pyright": check_with_pyright}


@pytest.mark.parametrize("checker", CHECKERS)
def test_a_program_that_uses_every_name_is_well_typed(checker: str, tmp_path: Path) -> None:
    """And a mistake is found beside it, so that a checker that sees nothing does not pass."""
    (tmp_path / "program.py").write_text(PROGRAM.read_text())
    (tmp_path / "mistaken.py").write_text(MISTAKEN)
    ((where, said),) = CHECKERS[checker](tmp_path)
    assert where == "mistaken.py", said
    assert "str" in said
    assert "int" in said


def test_the_program_uses_every_public_name() -> None:
    used = {
        node.attr
        for node in ast.walk(ast.parse(PROGRAM.read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "vit_convert"
    }
    imported = {
        alias.name
        for node in ast.walk(ast.parse(PROGRAM.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "vit_convert"
        for alias in node.names
    }
    assert (used | imported) - {"nonsense"} == {*vit_convert.__all__}


def test_type_checkers_are_told_of_the_names_that_there_are() -> None:
    """The imports that only they read are those that `__getattr__` makes."""
    tree = ast.parse(Path(vit_convert.__file__).read_text())
    told = {
        alias.name: node.module
        for block in ast.walk(tree)
        if isinstance(block, ast.If)
        for node in ast.walk(block)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    }
    made = {name: f"vit_convert.{home}" for name, home in vit_convert._HOMES.items()}
    assert told == made


def test_no_public_name_is_that_of_a_room() -> None:
    """Importing the room would put it in the place of the function."""
    rooms = {path.stem for path in (HOME / "vit_convert").iterdir()}
    assert not rooms & {*vit_convert.__all__}


def test_type_checkers_know_every_option_of_a_model() -> None:
    told = get_type_hints(ModelOptions)
    there: dict[str, object] = {}
    classes = [family.config_class for family in architectures()]
    pictures = [kind for kind in classes if issubclass(kind, TransformerConfig)]
    for described in (Preprocessing, *pictures):
        hints = get_type_hints(described)
        there |= {field.name: hints[field.name] for field in dataclasses.fields(described)}
    sides = {"image_size", "patch_size", "rotary_grid"}  # which a single number may stand for
    assert told == there | {name: int | there[name] for name in sides}  # type: ignore[operator]


def test_public_functions_name_their_keywords() -> None:
    """No `**options: Any`: what somebody misspells is an error before anything is done."""
    loose = []
    for name, home in vit_convert._HOMES.items():
        path = HOME / "vit_convert" / Path(*home.split("."))
        source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name == name and node.args.kwarg:
                annotation = node.args.kwarg.annotation
                if annotation is None or not ast.unparse(annotation).startswith("Unpack["):
                    loose.append(name)
    assert not loose
