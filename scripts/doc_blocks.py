"""The programs that README and docs/ show: found in the Markdown, run as readers would run them.

A page's fenced blocks of `sh` and `python` run in order, in one empty folder that has `weights`.
The line before a block may say otherwise, where readers of the built page do not see it:

    <!-- not run: REASON -->    it is not run, and the page says why in words of its own
    <!-- heavy -->              it takes more than a few seconds: `scripts/docs --heavy` runs it
    <!-- exits with 1 -->       its exit code

A page whose block needs what a heavy one makes marks it as heavy too.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
RUN = ("sh", "python")
_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)")
# Where torchvision was built for another PyTorch, a program that imports it needs this first.
_TORCHVISION = re.compile(r"^\s*(?:from|import) (?:timm|torchvision|transformers)\b", re.MULTILINE)
_BEFORE_IT = (
    "from vit_convert.parity.sources.torch_compat import import_vision\n"
    "import_vision('torchvision')\n"
)
_MARK = re.compile(r"^ *<!-- (?P<mark>not run: .+|heavy|exits with \d+) -->$")


@dataclass(frozen=True)
class Block:
    """Attributes:
    language: what stands behind the fence.
    text: what stands between the fences, without their indent.
    line: of the fence, from 1.
    marks: the comments above it.
    """

    language: str
    text: str
    line: int
    marks: tuple[str, ...]

    @property
    def heavy(self) -> bool:
        return "heavy" in self.marks

    @property
    def runs(self) -> bool:
        """Whether it is a program, and none that is marked as not run."""
        return self.language in RUN and not any(m.startswith("not run") for m in self.marks)

    @property
    def exit_code(self) -> int:
        return next((int(m.split()[-1]) for m in self.marks if m.startswith("exits")), 0)


def pages() -> list[Path]:
    """README.md, and all of docs/."""
    return [HOME / "README.md", *sorted((HOME / "docs").rglob("*.md"))]


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    marks: list[str] = []
    lines = iter(enumerate(page.read_text(encoding="utf-8").splitlines(), 1))
    for number, line in lines:
        if mark := _MARK.match(line):
            marks.append(mark["mark"])
        elif fence := _FENCE.match(line):
            body = []
            for _, inner in lines:
                if inner.strip() == "```":
                    break
                body.append(inner.removeprefix(fence["indent"]))
            yield Block(fence["language"], "\n".join(body) + "\n", number, tuple(marks))
            marks = []
        elif line.strip():
            marks = []


def programs(page: Path, heavy: bool) -> list[Block]:
    """Those of its blocks that are to be run."""
    return [block for block in blocks(page) if block.runs and (heavy or not block.heavy)]


def run(page: Path, folder: Path, heavy: bool = False) -> str:
    """Run a page's programs in an empty folder. Returns what went wrong, "" if nothing did.

    `vit-convert` and `python` are those of this interpreter.
    """
    tools = folder / ".tools"
    tools.mkdir()
    for name, module in (("vit-convert", "-m vit_convert "), ("python", "")):
        tool = tools / name
        tool.write_text(f'#!/bin/sh\nexec "{sys.executable}" {module}"$@"\n')
        tool.chmod(0o755)
    (folder / "weights").symlink_to(HOME / "weights")
    environment = os.environ | {
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(HOME), os.environ.get("PYTHONPATH")))),
    }
    for block in programs(page, heavy):
        command = ["bash", "-euo", "pipefail", "-c"] if block.language == "sh" else ["python", "-c"]
        before = _BEFORE_IT if "python" in command and _TORCHVISION.search(block.text) else ""
        done = subprocess.run(
            [*command, before + block.text],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != block.exit_code:
            place = f"{page.relative_to(HOME)}:{block.line}"
            said = f"{done.stdout[-2000:]}{done.stderr[-4000:]}"
            return f"{place} exits with {done.returncode}, not {block.exit_code}:\n{said}"
    return ""
