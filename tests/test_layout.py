"""The house: who may import whom, and what must be cheap to import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import vit_convert

pytestmark = pytest.mark.once  # it reads source
ROOT = Path(vit_convert.__file__).parent
# Each floor may use its own rooms and those below it. DESIGN: imports point one way.
FLOORS = (
    ("errors", "progress", "results", "runtime"),
    ("checkpoint", "architectures", "labels", "images"),
    ("dialects", "hf_config", "statements"),
    ("conversion", "folding", "models"),
    ("exporters", "training", "words"),
    ("inference",),
    ("parity",),
    ("reporting",),
    ("browser",),
    ("cli",),
)
DOORS = ("__init__", "__main__")  # they lead into every room, lazily
LIGHT = (
    "checkpoint",
    "architectures",
    "dialects",
    "hf_config",
    "statements",
    "conversion.files",
    "folding",
    "exporters",
    "words.zero_shot",
    "cli",
)


def imports(path: Path) -> set[str]:
    """Names of the modules that a file imports, wherever it does, but for type checkers."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            parts = {f"{node.module}.{alias.name}" for alias in node.names}
            found.update(parts & MODULES.keys() or {node.module})
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return found


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def own_imports(module: str) -> set[str]:
    """Modules of the package that a module imports."""
    return {name for name in imports(MODULES[module]) if name in MODULES} - {module}


def room_of(module: str) -> str:
    return [*module.split("."), "__init__"][1]


def floor_of(room: str) -> int:
    return next(i for i, rooms in enumerate(FLOORS) if room in rooms)


def test_every_room_has_its_floor() -> None:
    assert {room_of(module) for module in MODULES} - {*DOORS} == {r for f in FLOORS for r in f}


@pytest.mark.parametrize("module", [m for m in MODULES if room_of(m) not in DOORS])
def test_imports_point_downwards(module: str) -> None:
    here = floor_of(room_of(module))
    above = {m for m in own_imports(module) if m != "vit_convert" and floor_of(room_of(m)) > here}
    assert not above


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Paths through a graph that lead back to where they begin; one for each circle found."""
    found: list[list[str]] = []
    done: set[str] = set()

    def visit(node: str, path: list[str]) -> None:
        if node in path:
            found.append(path[path.index(node) :])
        elif node not in done:
            for other in sorted(graph[node]):
                visit(other, [*path, node])
            done.add(node)

    for node in graph:
        visit(node, [])
    return found


def test_no_modules_import_each_other() -> None:
    assert circles({module: own_imports(module) for module in MODULES}) == []


def test_no_rooms_import_each_other() -> None:
    rooms: dict[str, set[str]] = {}
    for module in MODULES:
        others = {room_of(other) for other in own_imports(module)}
        rooms.setdefault(room_of(module), set()).update(others - {room_of(module)})
    assert circles({room: uses - {*DOORS} for room, uses in rooms.items()}) == []


def test_a_circle_is_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}
    assert circles(graph) == [["b", "c"]]


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


def test_no_two_test_modules_have_one_name() -> None:
    """Because pytest imports them by their names alone."""
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
