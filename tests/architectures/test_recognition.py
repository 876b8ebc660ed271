"""What is recognised from names and shapes, and what is only assumed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from families import FAMILIES, OPTIONS, Family

from vit_convert.architectures import (
    Fact,
    ModelSpec,
    Overrides,
    Recognition,
    Shape,
    Variant,
    ViTConfig,
    architecture,
    architectures,
)
from vit_convert.errors import RecognitionError, UsageError

ALL_VARIANTS = [(a.name, v) for a in architectures() for v in a.variants]


def shapes_of(name: str, variant: Variant, **changes: Any) -> dict[str, Shape]:
    spec = ModelSpec(name, variant.config).with_config(**changes)
    return {p.name: p.shape for p in spec.parameters()}


def recognise(shapes: Mapping[str, Shape], hint: str = "", **overrides: Any) -> Recognition:
    name = "cait" if "blocks_token_only.0.attn.q.weight" in shapes else "vit"
    return architecture(name).recognise(shapes, Overrides(**overrides), hint)


def variant(name: str) -> tuple[str, Variant]:
    return next((a, v) for a, v in ALL_VARIANTS if v.name == name)


def test_variant_names_are_unique() -> None:
    names = [v.name for _, v in ALL_VARIANTS]
    assert len(set(names)) == len(names)


def test_what_shapes_say_is_read_and_the_rest_assumed() -> None:
    found = recognise(shapes_of(*variant("cait_s24_224")))
    known = {name: fact.provenance for name, fact in found.facts.items()}
    assert known["embed_dim"] == known["num_heads"] == known["depth_token_only"] == "read"
    assert known["gelu"] == known["norm_eps"] == known["mean"] == "assumed"
    assert set(known.values()) == {"read", "assumed"}


def test_vit_and_deit_of_the_same_shapes_make_the_normalisation_an_assumption() -> None:
    shapes = shapes_of(*variant("vit_base_patch16_224"))
    found = recognise(shapes)
    mean = found.facts["mean"]
    assert mean.provenance == "assumed"
    assert any("deit_base_patch16_224" in rival.names for rival in mean.rivals)
    stated = recognise(shapes, variant="deit_base_patch16_224")
    assert stated.facts["mean"].provenance == "published"
    assert stated.preprocessing.mean == (0.485, 0.456, 0.406)
    by_file = recognise(shapes, hint="deit_base_patch16_224-b5f2ef4d")
    assert by_file.preprocessing == stated.preprocessing


@pytest.mark.parametrize("size", ["huge"])
def test_heads_of_vit_huge_are_not_its_width_over_64(size: str) -> None:
    found = recognise(shapes_of(*variant(f"vit_{size}_patch14_224")))
    assert found.config.num_heads == 16 != found.config.embed_dim // 64


def test_unpublished_widths_assume_the_heads() -> None:
    shapes = shapes_of(*variant("vit_base_patch16_224"), depth=5, embed_dim=128, mlp_dim=200)
    found = recognise(shapes)
    assert found.config.num_heads == 2
    assert found.facts["num_heads"].provenance == "assumed"
    assert recognise(shapes, num_heads=4).facts["num_heads"].provenance == "given"


def test_unguessable_heads_are_refused() -> None:
    shapes = shapes_of(*variant("vit_base_patch16_224"), embed_dim=36, mlp_dim=63)
    with pytest.raises(RecognitionError, match="heads") as error:
        recognise(shapes)
    assert "--num-heads" in error.value.hint
    with pytest.raises(RecognitionError, match="does not divide"):
        recognise(shapes, num_heads=5)
    assert recognise(shapes, num_heads=4).config.num_heads == 4


def test_cait_heads_are_read_and_cannot_be_overridden() -> None:
    shapes = shapes_of(*variant("cait_xxs24_224"))
    with pytest.raises(UsageError, match="4 heads"):
        recognise(shapes, num_heads=8)


@pytest.mark.parametrize("name", FAMILIES)
def test_small_families_are_recognised_with_what_must_be_stated(name: str) -> None:
    spec = FAMILIES[name]().spec
    shapes = {p.name: p.shape for p in spec.parameters()}
    heads = None if name == "cait" else 4
    found = recognise(shapes, image_size=(24, 50), num_heads=heads)
    assert found.config == spec.config


def test_a_grid_that_is_no_square_must_be_stated() -> None:
    spec = FAMILIES["vit"](image_size=(24, 70)).spec
    shapes = {p.name: p.shape for p in spec.parameters()}
    with pytest.raises(RecognitionError, match="21 patches"):
        recognise(shapes, num_heads=4)


def test_positions_that_make_a_square_only_without_the_class_token_are_an_assumption() -> None:
    spec = FAMILIES["vit"]().spec  # 3 x 5 patches and a class token, or 4 x 4 patches
    shapes = {p.name: p.shape for p in spec.parameters()}
    found = recognise(shapes, num_heads=4)
    assert found.config.position == "patches"
    assert found.facts["position"].provenance == "assumed"
    assert "--image-size" in found.facts["position"].why
    stated = recognise(shapes, num_heads=4, image_size=(24, 50))
    assert stated.config.position == "all"
    assert stated.facts["position"].provenance == "read"


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"qkv_bias": False}, "qkv_bias", False),
        ({"layer_scale": True}, "layer_scale", True),
        ({"pool": "avg", "final_norm": False, "fc_norm": True}, "fc_norm", True),
        ({"num_classes": 0}, "num_classes", 0),
        ({"num_classes": 21843}, "num_classes", 21843),
        ({"in_channels": 1}, "in_channels", 1),
    ],
)
def test_options_are_read(changes: dict[str, Any], field: str, value: Any) -> None:
    found = recognise(shapes_of(*variant("vit_small_patch16_224"), **changes))
    assert getattr(found.config, field) == value
    assert found.facts[field].provenance == "read"


def test_average_pooling_follows_from_missing_class_token_or_fc_norm() -> None:
    base = variant("vit_small_patch16_224")
    assert recognise(shapes_of(*base)).config.pool == "token"
    assert recognise(shapes_of(*base, class_token=False, pool="avg")).config.pool == "avg"
    assert recognise(shapes_of(*base, fc_norm=True, final_norm=False)).config.pool == "avg"


def test_a_missing_block_is_named() -> None:
    shapes = shapes_of(*variant("vit_tiny_patch16_224"))
    left = {k: v for k, v in shapes.items() if not k.startswith("blocks.7.")}
    with pytest.raises(RecognitionError, match=r"blocks\.7"):
        recognise(left)


def test_unknown_names_are_no_model() -> None:
    with pytest.raises(RecognitionError, match=r"patch_embed\.proj\.weight is missing"):
        recognise({"conv1.weight": (64, 3, 7, 7)})
    with pytest.raises(RecognitionError, match="no architecture is called 'resnet'"):
        architecture("resnet")


@pytest.mark.parametrize("name", FAMILIES)
def test_spec_survives_json(name: str) -> None:
    import json

    spec = FAMILIES[name]().spec
    assert ModelSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


# where the tensors are those of models with another kind of rotary embedding, or with one at all
STATED_ROTARY = {
    "norms everywhere": "none",
    "no positions": "none",
    "rms norms everywhere": "none",
    "axial beside positions": "axial",
    "gated, attention pooling": "none",
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options_are_recognised_from_names_and_shapes(name: str) -> None:
    config = OPTIONS[name]().spec.config
    shapes = {p.name: p.shape for p in OPTIONS[name]().spec.parameters()}
    tables = [k for k in shapes if k.endswith("relative_position_bias_table")]
    found = recognise(
        shapes,
        image_size=config.image_size,
        num_heads=None if tables else config.num_heads,
        gelu=config.gelu if config.mlp == "plain" or config.pool == "map" else None,
        norm_position=config.norm_position,
        pool=config.pool,
        pool_heads=config.pool_heads,
        pool_prefix=config.pool_prefix,
        norm=config.norm,
        norm_eps=config.norm_eps,
        rotary=STATED_ROTARY.get(name),
        rotary_base=config.rotary_base,
        rotary_grid=config.rotary_grid,
    )
    assert found.config == config


def test_pooling_is_an_assumption_unless_a_stated_model_or_the_tensors_tell_it() -> None:
    def pool_of(family: Callable[[], Family], **stated: Any) -> Fact:
        spec = family().spec
        shapes = {p.name: p.shape for p in spec.parameters()}
        size, heads = spec.config.image_size, spec.config.num_heads
        return recognise(shapes, image_size=size, num_heads=heads, **stated).facts["pool"]

    assert pool_of(FAMILIES["vit"]).provenance == "assumed"
    assert pool_of(FAMILIES["vit"], pool="avg").provenance == "given"
    assert pool_of(FAMILIES["deit"]).provenance == "read"
    assert pool_of(OPTIONS["siglip"]).provenance == "read"
    shapes = shapes_of(*variant("vit_tiny_patch16_224"))
    assert recognise(shapes).facts["pool"].provenance == "assumed"
    stated = recognise(shapes, variant="vit_tiny_patch16_224")
    assert stated.facts["pool"].provenance == "published"


def test_gelu_is_no_option_of_gated_mlps() -> None:
    shapes = {p.name: p.shape for p in OPTIONS["dinov2"]().spec.parameters()}
    with pytest.raises(UsageError, match="gate is SiLU"):
        recognise(shapes, num_heads=4, gelu="erf")


def test_a_pooling_that_the_tensors_contradict_is_refused() -> None:
    shapes = shapes_of(*variant("vit_base_patch16_224"))
    assert recognise(shapes, pool="avgmax").config.pool == "avgmax"
    with pytest.raises(UsageError, match="map"):
        recognise(shapes, pool="map")
    with pytest.raises(UsageError, match="class"):
        recognise(shapes, position="class")


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        ("beit_base_patch16_224", {"class_token": False}, "one class token"),
        ("vit_base_patch16_18x2_224", {"rel_pos": "shared"}, "parallel blocks"),
        ("deit_base_distilled_patch16_224", {"reg_tokens": 2}, "registers"),
    ],
)
def test_options_that_no_model_has_together_are_refused(
    name: str, changes: dict[str, Any], says: str
) -> None:
    shapes = shapes_of(*variant(name), **changes)
    with pytest.raises(RecognitionError, match="no model that is known") as error:
        recognise(shapes, image_size=(224, 224))
    assert says in error.value.expected


def test_whole_patches_cover_a_part_of_the_picture() -> None:
    config = ViTConfig(image_size=(384, 50), patch_size=(14, 10))
    assert (config.grid, config.seen_size) == ((27, 5), (378, 50))
