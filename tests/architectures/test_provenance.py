"""Nothing is silent: a value that tensors do not tell is assumed, and its rivals are named."""

from __future__ import annotations

import random
import warnings
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import pytest

from vit_convert.architectures import (
    Architecture,
    CaiTConfig,
    Fact,
    Overrides,
    Preprocessing,
    Recognition,
    Rival,
    Shape,
    ViTConfig,
    architecture,
    architectures,
)
from vit_convert.architectures.published import TRAINING, PublishedModel
from vit_convert.conversion.assumptions import Assumptions, warn
from vit_convert.errors import AssumptionWarning, RecognitionError, UsageError

PUBLISHED = [
    pytest.param(family, model, id=model.name)
    for family in architectures()
    for model in family.published()
    if model.values
]


def shapes_of(family: Architecture, values: Mapping[str, Any]) -> dict[str, Shape]:
    """Of a model; what a configuration cannot have leaves no tensors."""
    known = {k: v for k, v in values.items() if not str(v).startswith("<")}
    return {p.name: p.shape for p in family.parameters(family.config_class(**known))}


def published(name: str) -> tuple[Architecture, PublishedModel]:
    return next((f, m) for f in architectures() for m in f.published() if m.name == name)


def recognise(name: str, hint: str = "model", **stated: Any) -> Recognition:
    family, model = published(name)
    return family.recognise(shapes_of(family, model.values), Overrides(**stated), hint)


def truth_of(model: PublishedModel) -> dict[str, set[Any]]:
    """Field -> the values that some pretrained weights of the model have."""
    truth: dict[str, set[Any]] = {name: {value} for name, value in model.values.items()}
    for item in fields(Preprocessing):
        truth[item.name] = {getattr(p.preprocessing, item.name) for p in model.pictures}
    return truth


def alike(family: Architecture, model: PublishedModel) -> list[str]:
    """The published models that can be converted and have the same tensors but for the head."""

    def body(values: Mapping[str, Any]) -> dict[str, Shape]:
        headless = {**values, "num_classes": 0, "head_bias": True}
        return shapes_of(family, headless)

    widths = ("embed_dim", "depth", "mlp_dim", "patch_size")
    return [
        other.name
        for other in family.published()
        if other.values
        and not other.unsupported
        and all(other.values[k] == model.values[k] for k in widths)
        and body(other.values) == body(model.values)
    ]


@pytest.mark.parametrize(("family", "model"), PUBLISHED)
def test_no_published_model_is_silently_taken_for_another(
    family: Architecture, model: PublishedModel
) -> None:
    """Whatever the file is called, each true value is told, or is one of the rivals named."""
    shapes = shapes_of(family, model.values)
    if model.unsupported and not alike(family, model):
        with pytest.raises(RecognitionError, match="is not supported"):
            family.recognise(shapes, Overrides(), "model")
        return
    found = family.recognise(shapes, Overrides(), "model")
    needed = {f.name for cls in (family.config_class, Preprocessing) for f in fields(cls)}
    assert found.facts.keys() == needed - set(TRAINING)
    for name, true in truth_of(model).items():
        fact = found.facts[name]
        told = {fact.value} | {rival.value for rival in fact.rivals}
        assert true <= told, f"{name} is {fact}"
        if true != {fact.value}:
            assert fact.provenance == "assumed"
    assert "published" not in {fact.provenance for fact in found.facts.values()}
    if model.unsupported:
        assert any(model.name in rival.names for f in found.facts.values() for rival in f.rivals)


@pytest.mark.parametrize(("family", "model"), PUBLISHED)
def test_by_its_own_name_a_published_model_has_its_own_values_and_they_are_assumed(
    family: Architecture, model: PublishedModel
) -> None:
    shapes = shapes_of(family, model.values)
    if model.unsupported:
        with pytest.raises(RecognitionError, match="is not supported") as error:
            family.recognise(shapes, Overrides(), model.name)
        assert model.name in error.value.what
        return
    found = family.recognise(shapes, Overrides(), model.name)
    assert found.config == family.config_class(**model.values)
    assert found.preprocessing == model.pictures[0].preprocessing
    assert "published" not in {fact.provenance for fact in found.facts.values()}


@pytest.mark.parametrize(("family", "model"), PUBLISHED)
def test_a_stated_model_has_published_values_whatever_the_file_is_called(
    family: Architecture, model: PublishedModel
) -> None:
    shapes = shapes_of(family, model.values)
    for tag in ("", *(t for p in model.pictures[1:] for t in p.tags)):
        name = f"{model.name}.{tag}" if tag else model.name
        stated = Overrides(stated={"variant": Fact(name, "read", "config.json: architecture")})
        if model.unsupported:
            with pytest.raises(RecognitionError, match="is not supported"):
                family.recognise(shapes, stated, "vit_base_patch16_224")
            continue
        found = family.recognise(shapes, stated, "vit_base_patch16_224")
        assert found.config == family.config_class(**model.values)
        pictures = model.pictures_of(tag)
        assert pictures
        assert found.preprocessing == pictures.preprocessing
        assert found.variant == name
        known = {fact.provenance for fact in found.facts.values()}
        assert known <= {"read", "published", "assumed"}
        for field, fact in found.facts.items():
            if fact.provenance == "assumed":
                assert field in found.unused, fact


def random_vit(rng: random.Random) -> ViTConfig:
    """Options as they come; many go with no tensors of their own."""
    pool = rng.choice(["token", "avg", "max", "avgmax", "map"])
    mlp = rng.choice(["plain", "swiglu", "swiglu-packed"])
    class_token = pool == "token" or rng.random() < 0.6
    rel_pos = rng.choice(["none", "none", "blocks", "shared"])
    distilled = class_token and pool == "token" and rng.random() < 0.2
    registers = 0 if distilled or rel_pos != "none" else rng.choice([0, 1, 4])
    side = rng.choice([8, 16])
    grids = [(3, 3), (4, 4), (5, 5), *([(2, 8), (3, 5)] if rel_pos == "none" else [])]
    grid = rng.choice(grids)
    fc_norm = not distilled and pool != "map" and rng.random() < 0.3
    prefix = class_token or distilled or registers
    rms = rng.random() < 0.2
    rotary = rng.choice(["none", "none", "eva02", "dinov3", "axial", "mixed", "pe"])
    has_map = pool == "map"
    return ViTConfig(
        image_size=(grid[0] * side, grid[1] * side),
        patch_size=(side, side),
        num_classes=rng.choice([0, 7]),
        embed_dim=64,
        depth=2,
        num_heads=rng.choice([1, 2, 4, 8]),
        mlp_dim=rng.choice([96, 256]),
        qkv_bias=rng.random() < 0.8,
        gelu="erf" if mlp != "plain" else rng.choice(["erf", "tanh", "quick", "relu"]),
        norm_eps=rng.choice([1e-5, 1e-6, 1e-12]),
        pool=pool,
        class_token=class_token,
        distilled=distilled,
        reg_tokens=registers,
        position=rng.choice(["all", "patches", "class"]) if prefix else "all",
        rel_pos=rel_pos,
        rotary=rotary if rel_pos == "none" else "none",
        rotary_base=rng.choice([100.0, 10000.0]),
        rotary_grid=rng.choice([(16, 16), (14, 14)]),
        norm="rms" if rms else "layer",
        norm_bias=not rms and rng.random() < 0.9,
        patch_bias=rng.random() < 0.8,
        patch_norm=rng.random() < 0.1,
        proj_bias=rng.random() < 0.9,
        mlp_bias=rng.random() < 0.9,
        pool_heads=rng.choice([None, 16]) if has_map else None,
        pool_mlp_dim=rng.choice([None, 80]) if has_map else None,
        pre_norm=rng.random() < 0.3,
        norm_position=rng.choice(["pre", "post", "res-post"]),
        qk_norm=rng.random() < 0.3,
        attn_norm=rng.random() < 0.2,
        mlp=mlp,
        mlp_norm=rng.random() < 0.2,
        layer_scale=rng.random() < 0.3,
        final_norm=not fc_norm and rng.random() < 0.9,
        fc_norm=fc_norm,
        pool_prefix=rng.random() < 0.3,
    )


def random_cait(rng: random.Random) -> CaiTConfig:
    side, grid = rng.choice([8, 16]), rng.choice([(3, 3), (4, 4), (2, 8), (3, 5)])
    return CaiTConfig(
        image_size=(grid[0] * side, grid[1] * side),
        patch_size=(side, side),
        num_classes=rng.choice([0, 7]),
        embed_dim=64,
        depth=rng.choice([1, 2]),
        depth_token_only=rng.choice([1, 2, 3]),
        num_heads=rng.choice([2, 4]),
        mlp_dim=rng.choice([96, 256]),
        mlp_dim_token_only=rng.choice([80, 256]),
        qkv_bias=rng.random() < 0.8,
        gelu=rng.choice(["erf", "tanh", "quick", "relu"]),
        norm_eps=rng.choice([1e-5, 1e-6, 1e-12]),
    )


@pytest.mark.parametrize("seed", range(8))
def test_what_is_read_is_true_of_every_model_with_these_tensors(seed: int) -> None:
    """So that two models with equal tensors never differ in a value that is called read."""
    rng = random.Random(seed)
    tried = 0
    for _ in range(150):
        config = random_vit(rng) if rng.random() < 0.8 else random_cait(rng)
        family = architecture("vit" if isinstance(config, ViTConfig) else "cait")
        shapes = {p.name: p.shape for p in family.parameters(config)}
        try:
            found = family.recognise(shapes, Overrides(), "model")
        except RecognitionError:
            continue
        tried += 1
        for name, fact in found.facts.items():
            if fact.provenance == "read":
                assert fact.value == getattr(config, name), (name, config)
            else:
                assert fact.provenance == "assumed"
        same = {p.name: p.shape for p in family.parameters(found.config)}
        assert same == shapes
    assert tried > 50


def test_rivals_of_the_same_tensors_are_named_with_the_option() -> None:
    found = recognise("vit_base_patch16_siglip_gap_224")
    heads = found.facts["num_heads"]
    assert {heads.value, *(rival.value for rival in heads.rivals)} == {12, 16}
    assert Assumptions.of(found).open["num_heads"] is heads
    (line,) = [t for t in Assumptions.of(found).warnings() if t.startswith("num_heads")]
    other = heads.rivals[0]
    assert line.endswith(f"; --num-heads {other.value}")
    assert other.names[0] in line


def test_a_file_name_chooses_among_models_of_the_same_tensors_and_is_no_statement() -> None:
    found = recognise("vit_base_patch16_224", hint="deit_base_patch16_224-b5f2ef4d")
    assert found.preprocessing.mean == (0.485, 0.456, 0.406)
    fact = found.facts["mean"]
    assert fact.provenance == "assumed"
    assert "by the file's name" in fact.why
    assert any("vit_base_patch16_224" in rival.names for rival in fact.rivals)


def test_a_tag_in_the_file_name_chooses_the_preprocessing_of_these_weights() -> None:
    found = recognise("vit_base_patch16_224", hint="vit_base_patch16_224.mae")
    assert found.preprocessing.mean == (0.485, 0.456, 0.406)


def test_a_value_that_the_user_gives_leaves_those_models_that_have_it() -> None:
    found = recognise("vit_base_patch16_gap_224", num_heads=12)
    assert found.facts["num_heads"] == Fact(12, "given", "your option")
    assert "vit_base_patch16_gap_224" not in found.facts["norm_eps"].models
    assert "vit_base_patch16_siglip_gap_224" in found.facts["norm_eps"].models


def test_one_line_says_what_all_published_models_of_these_shapes_have() -> None:
    found = recognise("cait_s24_224")
    assumed = Assumptions.of(found)
    assert not assumed.open
    assert not assumed.warnings()
    line = assumed.conclusion()
    assert "cait_s24_224" in line
    assert "gelu erf" in line
    assert "--variant" in line


def test_a_stated_model_that_the_tensors_contradict_is_an_error_that_shows_both() -> None:
    with pytest.raises(UsageError, match="embed_dim is 768") as given:
        recognise("vit_base_patch16_224", variant="vit_small_patch16_224")
    assert given.value.expected == "embed_dim 384"
    read = {"variant": Fact("deit3_base_patch16_224", "read", "config.json: architecture")}
    with pytest.raises(RecognitionError, match="layer_scale is False") as stated:
        recognise("vit_base_patch16_224", stated=read)
    assert stated.value.where == "config.json: architecture"


def test_an_unknown_name_is_an_error_from_the_user_and_nothing_from_a_file() -> None:
    with pytest.raises(UsageError, match="no variant is called") as error:
        recognise("vit_base_patch16_224", variant="vit_base_patch16_225")
    assert "vit_base_patch16_224" in error.value.hint
    stated = {"variant": Fact("my_model", "read", "config.json: architecture")}
    found = recognise("vit_base_patch16_224", stated=stated)
    assert found.facts["gelu"].provenance == "assumed"


def test_pooling_of_a_stated_model_with_other_norms_is_assumed() -> None:
    """timm's global_pool="avg" moves the norm: the model is stated, its pooling is not."""
    family, model = published("vit_base_patch16_224")
    shapes = shapes_of(family, {**model.values, "fc_norm": True, "final_norm": False})
    found = family.recognise(shapes, Overrides(variant="vit_base_patch16_224"), "model")
    assert (found.config.pool, found.facts["pool"].provenance) == ("avg", "assumed")
    assert found.facts["num_heads"].provenance == "published"


def test_preprocessing_of_weights_that_nobody_knows_is_assumed() -> None:
    stated = {"variant": Fact("vit_base_patch16_224.my_own", "read", "args.model")}
    found = recognise("vit_base_patch16_224", stated=stated)
    assert found.facts["num_heads"].provenance == "published"
    assert found.facts["mean"].provenance == "assumed"


def test_python_warns_of_each_assumption() -> None:
    found = recognise("vit_base_patch16_siglip_gap_224")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn(found)
    assert {w.category for w in caught} == {AssumptionWarning}
    assert {w.filename for w in caught} == {__file__}
    said = [str(w.message) for w in caught]
    assert sum(text.startswith("num_heads is assumed") for text in said) == 1
    assert sum(text.startswith("concluded from shapes") for text in said) == 1


def test_a_rival_that_no_option_gives_names_the_option_alone() -> None:
    fact = Fact("none", "assumed", "as in a", ("a",), (Rival("<axial>", ("b", "c", "d")),))
    found = Recognition(
        ViTConfig(image_size=(8, 8), patch_size=(4, 4)), Preprocessing(), "a", {"rotary": fact}
    )
    line, _ = Assumptions.of(found).warnings()
    assert line == (
        "rotary is assumed to be none, as in a; b and 2 others have axial (not supported); "
        "--rotary changes it"
    )
