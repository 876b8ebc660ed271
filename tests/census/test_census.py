"""Nothing is wrong in silence, of a few published models and of a few at random. `scripts/census`
takes all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from census.fuzz import judge_seed
from census.timm_names import KNOWN, NEIGHBOURS, judge_name, names
from vit_convert.architectures import Fact, Provenance
from vit_convert.checkpoint import Checkpoint
from vit_convert.conversion.convert import Conversion, recognise

# every 13th name: 27 of 335, of all modules
SOME = names(KNOWN + NEIGHBOURS)[::13]
# which the first version of recognition took for others in silence
ONCE_SILENT = (
    "vit_base_patch16_siglip_gap_224",
    "vit_base_patch32_siglip_gap_256",
    "vit_small_patch16_rope_ape_224",
    "vit_large_patch14_clip_224",
    "vit_giant_patch14_224",
)


@pytest.mark.filterwarnings("ignore")  # of timm's constructors
@pytest.mark.parametrize("name", dict.fromkeys((*SOME, *ONCE_SILENT)))
@pytest.mark.parametrize("own_name", [True, False])
def test_no_published_model_is_taken_for_another(name: str, own_name: bool, tmp_path: Path) -> None:
    verdict = judge_name(name, name if own_name else "model", tmp_path)
    assert verdict.kind != "silent", verdict.why


@pytest.mark.filterwarnings("ignore")  # as above
@pytest.mark.parametrize("seed", range(1000, 1030))
def test_no_options_are_overlooked(seed: int, tmp_path: Path) -> None:
    verdict = judge_seed(seed, tmp_path)
    assert verdict.kind != "silent", f"{verdict.name}: {verdict.why}"


@pytest.mark.parametrize("provenance", ["read", "published", "assumed"])
def test_the_census_sees_a_wrong_value_unless_it_is_called_assumed(
    provenance: Provenance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert judge_name("cait_xxs24_224", "model", tmp_path).kind == "right"

    def mistaken(checkpoint: Checkpoint) -> Conversion:
        found = recognise(checkpoint)
        facts = found.facts | {"gelu": Fact("quick", provenance, "a mistake")}
        recognition = replace(found.recognition, facts=facts)
        return replace(found, recognition=recognition, spec=found.spec.with_config(gelu="quick"))

    monkeypatch.setattr("census.judging.recognise", mistaken)
    verdict = judge_name("cait_xxs24_224", "model", tmp_path)
    assert verdict.kind == ("assumed" if provenance == "assumed" else "silent")
    assert verdict.why == "gelu quick where the model has erf"


def test_the_census_sees_numbers_that_no_value_explains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "census.judging.TfliteWriter.float32_outputs", lambda *_: np.zeros((1, 1000))
    )
    verdict = judge_name("vit_tiny_patch16_224", "model", tmp_path)
    assert verdict.kind == "silent"
