"""Parity must notice every mistake that a converter could make, and name the block it is in.

The reference is what timm's own model gave, recorded; the artifact is the Keras model of a mutated
copy. A head count, an epsilon or a GELU cannot be read from tensors, so mutations of those leave
the artifact's metadata right and build its graph wrong.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from families import FAMILIES, PREPROCESSING, Family, small_cait, small_deit, small_vit

from vit_convert import models
from vit_convert.architectures import ModelSpec, Preprocessing
from vit_convert.checkpoint.tensor import LazyTensor
from vit_convert.conversion.h5_file import write_h5
from vit_convert.exporters.artifact import Artifact
from vit_convert.exporters.keras_h5 import KERAS_H5
from vit_convert.images.preprocessing import normalise
from vit_convert.parity.recorded import Recording
from vit_convert.parity.references import RecordedReference
from vit_convert.parity.sources.timm_source import block_outputs
from vit_convert.parity.verify import VerifyResult, verify_artifact

Arrays = dict[str, np.ndarray]
AFTER_BLOCKS = "after the last block: the final norm, pooling or the head"


@pytest.fixture(autouse=True, scope="module")
def each_graph_built_once() -> Iterator[None]:
    """One Keras model per configuration, which holds the weights of the artifact opened last."""
    with pytest.MonkeyPatch.context() as patch:
        built = models.build
        build = cache(lambda text, dtype: built(ModelSpec.from_dict(json.loads(text)), dtype))
        patch.setattr(models, "build", lambda spec, dtype: build(json.dumps(spec.to_dict()), dtype))
        yield


def artifact_of(
    family: Family, folder: Path, arrays: Arrays | None = None, **built_with: Any
) -> Artifact:
    """The Keras model of a family, with other weights or built with another configuration."""
    spec = family.spec.with_config(**built_with)
    tensors = {k: LazyTensor.of(k, v) for k, v in (arrays or family.arrays()).items()}
    write_h5(folder / "model.h5", spec, tensors)
    return replace(KERAS_H5.open(folder / "model.h5"), spec=family.spec)


def check(family: Family, artifact: Artifact, images: np.ndarray | None = None) -> VerifyResult:
    """Compare with what timm gives for four images, all blocks of all of them recorded."""
    images = family.images() if images is None else images
    recording = Recording(
        images,
        family.logits(images),
        block_outputs(family.model, family.spec.block_names(), images),
    )
    return verify_artifact(artifact, RecordedReference(recording))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_right_conversion_passes_far_below_the_tolerance(name: str, tmp_path: Path) -> None:
    family = FAMILIES[name]()
    result = check(family, artifact_of(family, tmp_path))
    assert result.passed
    assert result.comparison.relative < 2e-6
    assert result.comparison.tolerance == 1e-5
    assert result.comparison.top1_agreement == 100
    assert (result.first_difference, result.where) == (None, "")


def transposed(name: str) -> Callable[[Arrays], None]:
    def mutate(arrays: Arrays) -> None:
        assert arrays[name].shape[-1] == arrays[name].shape[-2], "only a square one goes unnoticed"
        arrays[name] = np.ascontiguousarray(np.swapaxes(arrays[name], -1, -2))

    return mutate


def swapped(one: str, other: str) -> Callable[[Arrays], None]:
    """All arrays whose names begin with `one` for those with `other`."""

    def mutate(arrays: Arrays) -> None:
        pairs = [(k, other + k.removeprefix(one)) for k in arrays if k.startswith(one)]
        assert pairs
        for a, b in pairs:
            arrays[a], arrays[b] = arrays[b], arrays[a]

    return mutate


def filled(name: str, value: float) -> Callable[[Arrays], None]:
    def mutate(arrays: Arrays) -> None:
        arrays[name] = np.full_like(arrays[name], value)

    return mutate


def q_and_k_swapped(block: str) -> Callable[[Arrays], None]:
    def mutate(arrays: Arrays) -> None:
        for leaf in ("weight", "bias"):
            name = f"{block}.attn.qkv.{leaf}"
            q, k, v = np.split(arrays[name], 3)
            arrays[name] = np.concatenate([k, q, v])

    return mutate


def positions_off_by_one(arrays: Arrays) -> None:
    arrays["pos_embed"] = np.roll(arrays["pos_embed"], 1, axis=1)


def second_head_ignored(arrays: Arrays) -> None:
    for leaf in ("weight", "bias"):
        arrays[f"head.{leaf}"] = 2 * arrays[f"head.{leaf}"]
        arrays[f"head_dist.{leaf}"] = np.zeros_like(arrays[f"head_dist.{leaf}"])


@dataclass(frozen=True)
class Mutation:
    """A mistake in the weights, where it belongs, and where it must be found."""

    what: str
    build: Callable[[], Family]
    mutate: Callable[[Arrays], None]
    where: str


def of_every_family(
    what: str, mutate: Callable[[Arrays], None], where: str
) -> tuple[Mutation, ...]:
    return tuple(Mutation(f"{name}: {what}", f, mutate, where) for name, f in FAMILIES.items())


MUTATIONS = (
    *of_every_family(
        "transpose of attn.proj dropped", transposed("blocks.1.attn.proj.weight"), "blocks.1"
    ),
    *of_every_family("q and k swapped", q_and_k_swapped("blocks.2"), "blocks.2"),
    *of_every_family(
        "a block swapped with its neighbour", swapped("blocks.1.", "blocks.2."), "blocks.1"
    ),
    *of_every_family("gamma of a norm missing", filled("blocks.2.norm1.weight", 1), "blocks.2"),
    *of_every_family("beta of a norm missing", filled("blocks.0.norm2.bias", 0), "blocks.0"),
    *of_every_family("bias of the MLP missing", filled("blocks.1.mlp.fc1.bias", 0), "blocks.1"),
    *of_every_family("positions off by one", positions_off_by_one, "embeddings"),
    *of_every_family("gamma of the last norm missing", filled("norm.weight", 1), AFTER_BLOCKS),
    *of_every_family("bias of the head missing", filled("head.bias", 0), AFTER_BLOCKS),
    Mutation("vit: class token missing", small_vit, filled("cls_token", 0), "embeddings"),
    Mutation(
        "cait: class token missing", small_cait, filled("cls_token", 0), "blocks_token_only.0"
    ),
    Mutation(
        "vit: rows and columns of the patches swapped",
        lambda: small_vit(image_size=(24, 40), patch_size=(8, 8)),
        transposed("patch_embed.proj.weight"),
        "embeddings",
    ),
    Mutation(
        "vit: LayerScale of the attention dropped",
        lambda: small_vit(layer_scale=True),
        filled("blocks.1.ls1.gamma", 1),
        "blocks.1",
    ),
    Mutation(
        "vit: LayerScale of the MLP dropped",
        lambda: small_vit(layer_scale=True),
        filled("blocks.2.ls2.gamma", 1),
        "blocks.2",
    ),
    Mutation("cait: LayerScale dropped", small_cait, filled("blocks.0.gamma_1", 1), "blocks.0"),
    Mutation(
        "cait: LayerScale of class attention dropped",
        small_cait,
        filled("blocks_token_only.1.gamma_2", 1),
        "blocks_token_only.1",
    ),
    Mutation(
        "cait: LayerScales of attention and MLP swapped",
        small_cait,
        swapped("blocks.2.gamma_1", "blocks.2.gamma_2"),
        "blocks.2",
    ),
    Mutation(
        "cait: heads mixed after the softmax as before it",
        small_cait,
        swapped("blocks.1.attn.proj_l.", "blocks.1.attn.proj_w."),
        "blocks.1",
    ),
    Mutation(
        "cait: transpose of the mixing of heads dropped",
        small_cait,
        transposed("blocks.2.attn.proj_w.weight"),
        "blocks.2",
    ),
    Mutation(
        "cait: q and k of class attention swapped",
        small_cait,
        swapped("blocks_token_only.1.attn.q.", "blocks_token_only.1.attn.k."),
        "blocks_token_only.1",
    ),
    Mutation(
        "cait: class-attention blocks swapped",
        small_cait,
        swapped("blocks_token_only.0.", "blocks_token_only.1."),
        "blocks_token_only.0",
    ),
    Mutation(
        "deit: class and distillation token swapped",
        small_deit,
        swapped("cls_token", "dist_token"),
        "embeddings",
    ),
    Mutation("deit: heads swapped", small_deit, swapped("head.", "head_dist."), AFTER_BLOCKS),
    Mutation("deit: second head ignored", small_deit, second_head_ignored, AFTER_BLOCKS),
)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.what)
def test_a_mistake_in_the_weights_is_caught_and_located(mutation: Mutation, tmp_path: Path) -> None:
    family = mutation.build()
    arrays = family.arrays()
    mutation.mutate(arrays)
    result = check(family, artifact_of(family, tmp_path, arrays))
    assert not result.passed
    assert result.where == mutation.where
    assert (
        result.first_difference.name if result.first_difference else AFTER_BLOCKS
    ) == mutation.where


@pytest.mark.parametrize(
    "wrong", [{"gelu": "tanh"}, {"gelu": "quick"}, {"norm_eps": 1e-3}], ids=str
)
@pytest.mark.parametrize("name", FAMILIES)
def test_another_gelu_or_epsilon_is_caught_in_the_first_block(
    name: str, wrong: dict[str, Any], tmp_path: Path
) -> None:
    family = FAMILIES[name]()
    result = check(family, artifact_of(family, tmp_path, **wrong))
    assert not result.passed
    assert result.where == "blocks.0"


@pytest.mark.parametrize("name", FAMILIES)
def test_an_epsilon_of_1e_5_for_1e_6_is_caught_where_tokens_vary_little(
    name: str, tmp_path: Path
) -> None:
    """x / sqrt(variance + epsilon) changes by 4.5e-6 / variance: a variance near 1 hides it below
    the tolerance (and makes it harmless), the small embeddings that training begins with do not."""
    family = FAMILIES[name]()
    with torch.no_grad():
        for parameter, value in family.model.named_parameters():
            if parameter.startswith(("patch_embed.", "pos_embed", "cls_token", "dist_token")):
                value.mul_(0.05)
    assert check(family, artifact_of(family, tmp_path)).passed
    result = check(family, artifact_of(family, tmp_path, norm_eps=1e-5))
    assert not result.passed
    assert result.where == "blocks.0"


@pytest.mark.parametrize("build", [small_vit, small_deit])
def test_another_head_count_is_caught(build: Callable[[], Family], tmp_path: Path) -> None:
    """CaiT's head count cannot be wrong: its proj_l has as many rows."""
    family = build()
    result = check(family, artifact_of(family, tmp_path, num_heads=6))
    assert not result.passed
    assert result.where == "blocks.0"


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("avg", "max"), ("max", "avg"), ("token", "avg"), ("avg", "token")],
)
def test_another_pooling_is_caught_after_the_blocks(right: str, wrong: str, tmp_path: Path) -> None:
    family = small_vit(pool=right)
    result = check(family, artifact_of(family, tmp_path, pool=wrong))
    assert not result.passed
    assert (result.first_difference, result.where) == (None, AFTER_BLOCKS)


def taking_pixels(artifact: Artifact, preprocessing: Preprocessing) -> Artifact:
    """The same with its preprocessing embedded: RGB in 0..255."""
    assert artifact.blocks is not None
    run, blocks = artifact.run, artifact.blocks
    return replace(
        artifact,
        input_range="0..255",
        run=lambda pixels: run(normalise(pixels, preprocessing)),
        blocks=lambda pixels: blocks(normalise(pixels, preprocessing)),
    )


def backwards(values: tuple[float, float, float]) -> tuple[float, float, float]:
    return values[2], values[1], values[0]


@pytest.mark.parametrize(
    ("embedded", "right"),
    [
        (PREPROCESSING, True),
        (replace(PREPROCESSING, mean=backwards(PREPROCESSING.mean)), False),
        (replace(PREPROCESSING, std=backwards(PREPROCESSING.std)), False),
        (Preprocessing(), False),
    ],
    ids=["right", "mean swapped", "std swapped", "mean and std of another model"],
)
@pytest.mark.parametrize("name", FAMILIES)
def test_embedded_preprocessing_with_other_numbers_is_caught(
    name: str, embedded: Preprocessing, right: bool, tmp_path: Path
) -> None:
    family = FAMILIES[name]()
    artifact = taking_pixels(artifact_of(family, tmp_path), embedded)
    pixels = np.random.default_rng(0).integers(0, 256, family.images().shape, np.uint8)
    result = check(family, artifact, normalise(pixels, PREPROCESSING))
    assert result.passed is right
    assert result.where == ("" if right else "embeddings")
    assert result.note == ""
