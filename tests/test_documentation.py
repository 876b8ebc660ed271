"""What README and docs/ show is what there is."""

from __future__ import annotations

import ast
import dataclasses
import importlib.metadata
import inspect
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from test_layout import FLOORS, LIGHT

import vit_convert
from vit_convert.architectures import model_spec
from vit_convert.cli import cli
from vit_convert.exporters import metadata
from vit_convert.exporters.tflite.lint import RULES
from vit_convert.inference import run_identity
from vit_convert.training import state

pytestmark = pytest.mark.once  # it reads documents, or runs what they show
HOME = Path(__file__).parent.parent
SCRIPTS = HOME / "scripts"
README = HOME / "README.md"
sys.path.insert(0, str(SCRIPTS))
import doc_blocks  # noqa: E402  # what scripts/docs is made of

sys.path.remove(str(SCRIPTS))
PAGES = [page.relative_to(doc_blocks.HOME).as_posix() for page in doc_blocks.pages()]
WITH_PROGRAMS = [page for page in PAGES if doc_blocks.programs(HOME / page, heavy=False)]
COMMANDS = [
    (page, line)
    for page in PAGES
    for block in doc_blocks.blocks(HOME / page)
    if block.language == "sh"
    for line in block.text.replace("\\\n", " ").splitlines()
    if line.startswith("vit-convert ")
]
INLINE = [
    (page, " ".join(code.split()))
    for page in PAGES
    if page not in ("docs/cli.md", "docs/mistakes.md", "docs/changelog.md")
    for inline, indented in re.findall(
        r"`(vit-convert [a-z][^`]*)`|^ {4}(vit-convert [a-z].*)",
        (HOME / page).read_text("utf-8"),
        re.M,
    )
    for code in [re.split(r" (?:#|>|\|) ?", inline or indented)[0]]
]


def test_the_readme_shows_the_way_and_no_more() -> None:
    text = README.read_text(encoding="utf-8")
    assert len(text.encode()) <= 8_000
    assert text.count("<img ") == 1
    assert [block.language for block in doc_blocks.blocks(README)] == ["sh", "sh", "sh", "python"]


@pytest.mark.parametrize(("page", "line"), [*dict.fromkeys(COMMANDS)])
def test_commands_that_are_shown_exist_with_their_options(page: str, line: str) -> None:
    """Parsed, as the command would, and not run."""
    line = re.split(r" (?:2?>|\|\|) ?", line)[0]
    name, *arguments = shlex.split(line, comments=True)[1:]
    command: click.Command = cli
    if not name.startswith("-"):
        command = cli.commands[name]
    else:
        arguments = [name, *arguments]
    command.make_context(name, arguments, resilient_parsing=not arguments)


@pytest.mark.parametrize(("page", "words"), [*dict.fromkeys(INLINE)])
def test_commands_in_sentences_have_the_options_that_they_show(page: str, words: str) -> None:
    """Which may leave out what must be given."""
    name, *arguments = words.split()[1:]
    if not name.startswith("-"):
        known = {option for param in cli.commands[name].params for option in param.opts}
        assert {word for word in arguments if re.match(r"--?[a-z]", word)} <= known | {"--help"}


def test_every_picture_that_is_shown_is_there_and_can_be_made_again() -> None:
    shown = {
        name
        for page in PAGES
        for name in re.findall(r"images/(\w+\.(?:png|jpg))", (HOME / page).read_text("utf-8"))
    }
    scripts = [(SCRIPTS / name).read_text() for name in ("make_figures", "screenshots")]
    training = (HOME / "vit_convert/reporting/training_report.py").read_text()
    assert len(shown) >= 4
    for name in shown:
        assert (HOME / "docs" / "images" / name).is_file()
        if name.startswith("training_"):  # `train` writes it, as X_training/curves.png
            assert f'"{name.removeprefix("training_")}"' in training, name
        else:
            assert any(f'"{Path(name).stem}' in script for script in scripts), name


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.parametrize("page", WITH_PROGRAMS)
def test_programs_that_are_shown_run(page: str, tmp_path: Path) -> None:
    """All of a page, in order, in an empty folder with the weights, but for those marked heavy."""
    problem = doc_blocks.run(doc_blocks.HOME / page, tmp_path)
    assert not problem, problem


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.parametrize("program", sorted(p.name for p in (HOME / "examples").glob("*.py")))
def test_examples_run(program: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(HOME / "examples" / program)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(HOME)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert f"({program})" in (HOME / "examples" / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_site_builds_and_no_link_leads_nowhere(tmp_path: Path) -> None:
    """Strictly: pages, headings, pictures, the navigation, and nothing from another host."""
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / "docs"), "--site", str(tmp_path / "site")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(HOME)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {page.relative_to(tmp_path / "site") for page in (tmp_path / "site").rglob("*.html")}
    assert {Path(page).relative_to("docs").with_suffix(".html") for page in PAGES[1:]} <= pages
    assert "torch2keras" in (tmp_path / "site" / "api.html").read_text(encoding="utf-8")


def test_every_name_of_the_api_is_in_the_manual() -> None:
    text = (HOME / "docs" / "api.md").read_text(encoding="utf-8")
    shown = re.findall(r"^::: ([\w.]+)$", text, flags=re.MULTILINE)
    assert sorted(name.rpartition(".")[2] for name in shown) == vit_convert.__all__


def test_forty_mistakes_are_told_and_none_is_a_bug() -> None:
    text = (HOME / "docs" / "mistakes.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+ \| `[^`]+` \| (\d) \| (`.+`) \|$", text, flags=re.MULTILINE)
    assert len(rows) == 40
    assert all(code in "12" for code, _ in rows)
    assert not any("a bug in" in said or "Traceback" in said for _, said in rows)


def test_the_changelog_has_the_form_of_keep_a_changelog() -> None:
    text = (HOME / "CHANGELOG.md").read_text(encoding="utf-8")
    titles = re.findall(r"^## (.+)$", text, flags=re.MULTILINE)
    assert titles[0] == "[Unreleased]" or re.fullmatch(r"\[[\d.]+\] - [\d-]{10}", titles[0])
    kinds = re.findall(r"^### (.+)$", text, flags=re.MULTILINE)
    assert {*kinds} <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


@pytest.mark.parametrize("name", vit_convert.__all__)
def test_the_public_api_says_what_goes_in_and_what_is_raised(name: str) -> None:
    """Every parameter, every field, and for functions what comes out and what can go wrong."""
    public = getattr(vit_convert, name)
    said = inspect.getdoc(public) or ""
    if dataclasses.is_dataclass(public):
        names = [field.name for field in dataclasses.fields(public)]
    elif isinstance(public, type):  # an exception has the parameters of its base, a protocol none
        own = "__init__" in vars(public) and not getattr(public, "_is_protocol", False)
        names = list(inspect.signature(public).parameters) if own else []
    elif isinstance(public, str):  # which has no docstring while it runs
        return
    else:
        names = list(inspect.signature(public).parameters)
    assert [n for n in names if not re.search(rf"\b{n}\b[^\n]*:", said)] == []
    if inspect.isfunction(public):
        assert "\nReturns:\n" in said
        assert "\nRaises:\n" in said


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_python_of_the_page_about_keras_runs(tmp_path: Path) -> None:
    """Every block, one after the other, in a process of its own."""
    text = (HOME / "docs" / "keras.md").read_text(encoding="utf-8")
    found = re.findall(r"(?:^    .*\n(?:[ ]*\n(?=    ))*)+", text, flags=re.MULTILINE)
    assert len(found) >= 7
    script = "\n".join(line[4:] for block in found for line in block.splitlines())
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


@pytest.mark.parametrize("name", ["cli.md", "tflite.md", "mistakes.md"])
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
    [
        ("vit-convert ver", 1, "verify"),
        ("vit-convert verify --rep", 2, "--report"),
        ("vit-convert torch2keras --variant cait_xxs36", 3, "cait_xxs36_224"),
        ("vit-convert keras2torch --dialect torchv", 3, "torchvision"),
        ("vit-convert export --precision int16", 3, "int16x8"),
    ],
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


def test_the_formats_that_are_promised_are_those_of_the_code() -> None:
    text = (HOME / "docs" / "compatibility.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| (?!stored)([^|]+?) \| (\d+) \|", text, flags=re.MULTILINE)
    numbers = [model_spec.FORMAT, metadata.FORMAT, state.FORMAT, run_identity._VERSION]
    assert [int(number) for _, number in told] == numbers


def test_the_version_is_that_of_the_installed_package() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+)?", vit_convert.__version__)
    assert importlib.metadata.version("vit-convert") == vit_convert.__version__
