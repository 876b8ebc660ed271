"""The table of published models says what timm's models are."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = str(Path(__file__).parent.parent.parent / "scripts")

pytestmark = pytest.mark.torch  # the models are built

SAMPLE = [
    "vit_base_patch16_224",
    "vit_base_patch16_siglip_gap_224",
    "vit_giantopt_patch16_siglip_256",
    "vit_small_patch16_rope_ape_224",
    "vit_so400m_patch14_siglip_378",
    "vit_tiny_patch16_dinov3_qkvb",
    "vit_base_patch16_rpn_224",
    "vit_base_patch32_clip_quickgelu_224",
    "eva02_tiny_patch14_336",
    "beitv2_base_patch16_224",
    "deit_tiny_distilled_patch16_224",
    "cait_xxs24_384",
    "qwen3_vit_88m",
]


@pytest.fixture(scope="module", autouse=True)
def scripts_on_the_path() -> Iterator[None]:
    sys.path.insert(0, SCRIPTS)
    yield
    sys.path.remove(SCRIPTS)


def table(family: str) -> dict[str, Any]:
    path = resources.files("vit_convert.architectures") / family / "published.json"
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return data


def same_version() -> bool:
    from published.entries import timm

    return bool(timm.__version__ == table("vit")["timm"])


def test_every_name_of_timm_is_there() -> None:
    from published.entries import MODULES, timm

    if not same_version():
        pytest.skip(f"the table is of timm {table('vit')['timm']}")
    names = {n for module in MODULES for n in timm.list_models(module=module)}
    assert len(names) > 261
    assert {*table("vit")["models"], *table("cait")["models"]} == names


@pytest.mark.parametrize("name", SAMPLE)
def test_an_entry_is_what_timm_builds(name: str) -> None:
    from published.entries import entry

    if not same_version():
        pytest.skip(f"the table is of timm {table('vit')['timm']}")
    family, found = entry(name)
    assert json.loads(json.dumps(found)) == table(family)["models"][name]


def test_a_model_that_computes_something_else_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The comparison of copies sees a wrong number of heads, which no tensor tells."""
    from published import entries

    read = entries.read_module

    def wrong(model: Any) -> Any:
        reading = read(model)
        reading.values["num_heads"] *= 2
        return reading

    monkeypatch.setattr(entries, "read_module", wrong)
    assert "computes something else" in entries.entry("vit_tiny_patch16_224")[1]["unsupported"]
