"""What README and docs/ show is what there is."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from test_layout import FLOORS, LIGHT

import vit_convert
from vit_convert.cli import cli
from vit_convert.exporters.tflite.lint import RULES

HOME = Path(__file__).parent.parent
README = (HOME / "README.md").read_text(encoding="utf-8")


def blocks_of(text: str) -> list[str]:
    """The indented blocks of a document."""
    found = re.findall(r"(?:^    .*\n(?:[ ]*\n(?=    ))*)+", text, flags=re.MULTILINE)
    return ["\n".join(line[4:] for line in block.splitlines()) for block in found]


BLOCKS = blocks_of(README)
SHELL = [
    line
    for block in BLOCKS
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith("vit-convert ")
]
INLINE = [" ".join(code.split()) for code in re.findall(r"`(vit-convert [^`]+)`", README)]


def test_the_readme_has_commands_and_python() -> None:
    assert len(SHELL) >= 5
    assert any(block.startswith("import vit_convert") for block in BLOCKS)


@pytest.mark.parametrize("line", [*dict.fromkeys([*SHELL, *INLINE])])
def test_commands_of_the_readme_exist_with_their_options(line: str) -> None:
    """Parsed, as the command would, and not run."""
    name, *arguments = shlex.split(line, comments=True)[1:]
    command: click.Command = cli
    if not name.startswith("-"):
        command = cli.commands[name]
    else:
        arguments = [name, *arguments]
    command.make_context(name, arguments, resilient_parsing=not arguments)


def test_every_picture_of_the_readme_is_there_and_can_be_made_again() -> None:
    shown = re.findall(r'src="docs/images/(\w+)\.png"', README)
    scripts = [(HOME / "scripts" / name).read_text() for name in ("make_figures", "screenshots")]
    assert len(shown) >= 4
    for name in shown:
        assert (HOME / "docs" / "images" / f"{name}.png").is_file()
        assert any(f'"{name}' in script for script in scripts), name


@pytest.mark.parametrize("name", vit_convert.__all__)
def test_the_public_api_says_what_goes_in_and_what_is_raised(name: str) -> None:
    """Every parameter, every field, and for functions what comes out and what can go wrong."""
    public = getattr(vit_convert, name)
    said = inspect.getdoc(public) or ""
    if dataclasses.is_dataclass(public):
        names = [field.name for field in dataclasses.fields(public)]
    else:
        names = list(inspect.signature(public).parameters)
    assert [n for n in names if not re.search(rf"\b{n}\b[^\n]*:", said)] == []
    if inspect.isfunction(public):
        assert "\nReturns:\n" in said
        assert "\nRaises:\n" in said


@pytest.mark.slow
@pytest.mark.torch
def test_python_of_the_readme_runs(tmp_path: Path) -> None:
    """Every block, in order, in a folder with the weights; in a process of its own."""
    (tmp_path / "weights").symlink_to(HOME / "weights")
    blocks = [block for block in BLOCKS if block.startswith("import ")]
    np.save(tmp_path / "images.npy", np.zeros((2, 32, 32, 3), np.float32))
    # what the commands of the README before them have made
    made = (
        "import numpy, vit_convert\n"
        "vit_convert.torch2keras('weights/vit_cifar10.pth', 'vit_cifar10.h5')\n"
        "vit_convert.export('vit_cifar10.h5', ['saved_model'])\n"
        "images = numpy.load('images.npy')\n"
    )
    script = "\n".join([made, *blocks])
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_python_of_the_page_about_keras_runs(tmp_path: Path) -> None:
    """Every block, in order, in a process of its own."""
    blocks = blocks_of((HOME / "docs" / "keras.md").read_text(encoding="utf-8"))
    assert len(blocks) >= 7
    script = "\n".join(blocks)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "(8, 2)" in done.stdout


@pytest.fixture(scope="module")
def made_docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that scripts/make_docs writes."""
    folder = tmp_path_factory.mktemp("docs")
    script = HOME / "scripts" / "make_docs"
    subprocess.run([sys.executable, str(script), str(folder)], check=True)
    return folder


@pytest.mark.parametrize("name", ["cli.md", "tflite.md"])
def test_what_is_made_from_the_code_is_fresh(name: str, made_docs: Path) -> None:
    fresh = (made_docs / name).read_text(encoding="utf-8")
    assert fresh == (HOME / "docs" / name).read_text(encoding="utf-8"), "run scripts/make_docs"


def test_the_known_defects_are_all_told_with_their_threads() -> None:
    kept = (HOME / "docs" / "tflite.md").read_text(encoding="utf-8")
    for rule in RULES:
        assert f"(`{rule.name}`)" in kept
        for thread in rule.threads:
            repository, number = thread.split("#")
            assert f"https://github.com/{repository}/issues/{number}" in kept


def test_the_reference_of_the_command_line_has_every_option() -> None:
    kept = (HOME / "docs" / "cli.md").read_text(encoding="utf-8")
    for name, command in cli.commands.items():
        assert f"## {name}\n" in kept
        for parameter in command.params:
            for option in parameter.opts if isinstance(parameter, click.Option) else ():
                assert f"{option}" in kept


@pytest.mark.parametrize(
    ("words", "position", "completed"),
    [("vit-convert ver", 1, "verify"), ("vit-convert verify --rep", 2, "--report")],
)
def test_the_shell_completes(words: str, position: int, completed: str, tmp_path: Path) -> None:
    """In bash itself, with what `vit-convert completion bash` prints."""
    program = tmp_path / "vit-convert"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m vit_convert "$@"\n')
    program.chmod(0o755)
    script = (
        'eval "$(vit-convert completion bash)"\n'
        f"COMP_WORDS=({words}); COMP_CWORD={position}\n"
        '_vit_convert_completion vit-convert; echo "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )
    assert completed in done.stdout.split(), done.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_their_script(shell: str) -> None:
    from click.testing import CliRunner

    done = CliRunner().invoke(cli, ["completion", shell], prog_name="vit-convert")
    assert done.exit_code == 0
    assert f"_VIT_CONVERT_COMPLETE={shell}_complete" in done.output


def test_the_design_names_every_room_and_its_floor() -> None:
    """In docs/design.md, as tests/test_layout.py holds them."""
    design = (HOME / "docs" / "design.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| .", design, flags=re.MULTILINE)
    floors = re.findall(r"^\d+\. (`\w+`(?:, `\w+`)*)$", design, flags=re.MULTILINE)
    assert [tuple(re.findall(r"\w+", floor)) for floor in floors] == list(FLOORS)
    assert rows == [room for floor in FLOORS for room in floor]


def test_the_design_names_what_is_light() -> None:
    design = (HOME / "docs" / "design.md").read_text(encoding="utf-8")
    (sentence,) = re.findall(r"((?:`[\w.]+`[ ,and\n]*)+) can be imported without", design)
    assert {*re.findall(r"`([\w.]+)`", sentence)} == {*LIGHT}


def names_cait(path: Path) -> bool:
    """Whether the code of a module names CaiT; comments and docstrings do not count."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    bare = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        words = [getattr(node, field, None) for field in ("id", "attr", "name", "module")]
        if isinstance(node, ast.Constant) and node not in bare:
            words.append(node.value)
        if any(isinstance(word, str) and re.search("cait", word, re.IGNORECASE) for word in words):
            return True
    return False


def test_contributing_counts_the_files_of_an_architecture() -> None:
    text = (HOME / "CONTRIBUTING.md").read_text(encoding="utf-8")
    counted = re.search(
        r"has (\d+) files of its own: (\d+) in .*?(\d+) other files.*?them\.", text, re.S
    )
    assert counted is not None
    package = HOME / "vit_convert"
    own = {p for p in package.rglob("*.py") if "cait" in (p.stem, p.parent.name)}
    folder = {p for p in own if p.parent.name == "cait"}
    others = {p for p in package.rglob("*.py") if p not in own and names_cait(p)}
    assert counted.groups() == (str(len(own)), str(len(folder)), str(len(others)))
    named = {package / path for path in re.findall(r"`([\w/]+\.py)`", counted[0])}
    assert named == (own - folder) | others
