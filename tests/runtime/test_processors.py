"""The processor's extensions, as /proc/cpuinfo tells them."""

from __future__ import annotations

from pathlib import Path

import pytest

from vit_convert.runtime import processors

X86 = "model name\t: A CPU with avx2\nflags\t\t: fpu avx512_vnni\nbugs\t\t: spectre_v1\n"


@pytest.mark.parametrize(
    ("text", "known"),
    [
        (X86 + "\n" + X86, {"fpu", "avx512_vnni"}),
        ("Features\t: fp asimd\n", set()),
        ("", set()),
        (None, set()),
    ],
)
def test_they_are_those_of_the_line_of_flags(
    text: str | None, known: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(processors, "_CPU_INFO", tmp_path / "cpuinfo")
    assert processors.instruction_sets() == known
