"""The house: who may import whom, and what must be cheap to import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import vit_convert

ROOT = Path(vit_convert.__file__).parent
LIGHT = ("checkpoint", "architectures", "dialects", "folding", "conversion", "transfer", "cli")
# which of the package's own parts each stage may import, beside errors and itself
ALLOWED = {
    "errors": set(),
    "checkpoint": set(),
    "architectures": set(),
    "dialects": {"architectures", "checkpoint"},
    "folding": {"architectures"},
    "models": {"architectures", "tensorflow_quiet"},
    "exporters": {
        "architectures",
        "checkpoint",
        "models",
        "folding",
        "output",
        "image_folders",
        "images",
        "progress",
        "tensorflow_quiet",
    },
}


def imports(path: Path) -> set[str]:
    """Names of the modules that a file imports, wherever it does, but for type checkers."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return found


def files_of(part: str) -> list[Path]:
    single = ROOT / f"{part}.py"
    return [single] if single.exists() else sorted((ROOT / part).rglob("*.py"))


@pytest.mark.parametrize("part", ALLOWED)
def test_imports_point_downwards(part: str) -> None:
    for file in files_of(part):
        own = {m.split(".")[1] for m in imports(file) if m.startswith("vit_convert.")}
        assert own <= ALLOWED[part] | {part, "errors"}, file


@pytest.mark.parametrize("part", LIGHT)
def test_light_parts_import_nothing_heavy(part: str) -> None:
    """Run, not read: what matters is what really gets imported."""
    code = (
        f"import sys, vit_convert.{part}; "
        "print({'tensorflow', 'torch', 'tf_keras', 'keras', 'PIL', 'rich'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_package_itself_imports_next_to_nothing() -> None:
    code = "import sys; before = {*sys.modules}; import vit_convert; print({*sys.modules} - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    added = {name.partition(".")[0] for name in ast.literal_eval(done.stdout)}
    assert added <= {"vit_convert", *sys.stdlib_module_names}
    assert not added & {"asyncio", "inspect", "logging"}


def test_inspect_imports_no_more_than_it_needs(tmp_path: Path) -> None:
    """For it should take less than half a second for a ViT-B."""
    checkpoint = Path(__file__).parent / "goldens/dialects/timm-vit/model.pth"
    code = (
        "import sys; from vit_convert.cli import cli\n"
        f"try: cli(['inspect', {str(checkpoint)!r}])\n"
        "finally: print({m.partition('.')[0] for m in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    imported = ast.literal_eval(done.stdout.splitlines()[-1])
    assert "numpy" in imported
    assert not imported & {"tensorflow", "torch", "h5py", "PIL", "flatbuffers", "asyncio"}


def test_modules_are_short() -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for path in ROOT.rglob("*.py")
        if (count := len(path.read_text().splitlines())) > 300
    }
    assert not long


def test_no_module_is_called_utils() -> None:
    assert not [p for p in ROOT.rglob("*.py") if p.stem in ("utils", "helpers", "misc", "common")]


def test_public_names_resolve() -> None:
    for name in vit_convert.__all__:
        assert getattr(vit_convert, name) is not None
    assert dir(vit_convert) == vit_convert.__all__
