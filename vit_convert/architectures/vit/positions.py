"""The image size of a Vision Transformer, and which tokens its position embedding covers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vit_convert.architectures.base import Fact, Overrides, Position
from vit_convert.architectures.facts import Facts, settle_image_size
from vit_convert.architectures.recognition import check_image_size
from vit_convert.architectures.vit.relative_position import grid_patches
from vit_convert.errors import UsageError

Size = tuple[int, int]
_USUAL_SIZE = 224  # of a model without positions that no variant and no file tells, in pixels


def settle_positions(facts: Facts, lengths: tuple[int, int], overrides: Overrides) -> None:
    """Settle `image_size` and `position`.

    Args:
        facts: what tensors tell is settled.
        lengths: rows of the position embedding and of the relative position bias's table.
        overrides: what the user and files state.

    Raises:
        UsageError: the stated position is none that the tensors leave, or the image size is no
            multiple of the patch size.
        RecognitionError: no square grid and no stated one has as many patches.
    """
    tokens, table = lengths
    patch_size: Size = facts.value("patch_size")
    wanted = overrides.trained_size
    if tokens:
        position, patches = _settle_position(facts, tokens, overrides)
        settle_image_size(facts, patches, overrides, lambda values: values["position"] == position)
    elif table:
        grid = (wanted[0] // patch_size[0], wanted[1] // patch_size[1]) if wanted else None
        settle_image_size(facts, grid_patches(table, grid), overrides)
    else:
        _settle_free_size(facts, overrides)


def _settle_position(facts: Facts, tokens: int, overrides: Overrides) -> tuple[Position, int]:
    """The position, and how many patches it leaves."""
    read = {name: facts.value(name) for name in ("class_token", "distilled", "reg_tokens")}
    options = _options(read)
    stated = overrides.fact("position")
    given = stated is not None and stated.provenance == "given"
    if stated and not given and stated.value == "class" and not read["reg_tokens"]:
        stated = replace(stated, value="all")  # which is the same then
    if stated and stated.value not in options and not given:
        stated = None  # such models have it if they have prefix tokens
    if stated and stated.value not in options:
        raise UsageError(
            f"the checkpoint's tensors are not those of a model with {stated.value!r}",
            where=f"--position {stated.value}",
            expected=" or ".join(options),
        )
    patch_size, wanted = facts.value("patch_size"), overrides.trained_size
    if stated:
        options = {stated.value: options[stated.value]}
    models = [
        m.values["position"] for m in facts.candidates.models if facts.candidates.fit in _SAME
    ]
    order = [p for p in dict.fromkeys([*models, *options]) if p in options]
    fitting = [
        p
        for p in order
        if (p in models and facts.candidates.fit == "tensors")
        or _is_grid(tokens - options[p], patch_size, wanted)
    ]
    position = (
        fitting[0] if fitting else order[0]
    )  # where nothing fits, the size says what is wrong
    if stated:
        facts.put("position", stated)
    elif wanted and _has(wanted, tokens - options[position], patch_size):
        facts.put("position", Fact(position, "read", "from the picture's size"))
    elif len(options) == 1:
        facts.put("position", Fact(position, "read", "from names and shapes"))
    else:
        why = "their number makes a square; --image-size if the pictures were none"
        same = facts.candidates.fit in _SAME and position in models
        if same:
            facts.settle("position", position)
        else:
            facts.put("position", Fact(position, "assumed", why))
    position = facts.value("position")
    return position, tokens - options[position]


_SAME = ("tensors", "size")


def _options(read: Mapping[str, Any]) -> dict[Position, int]:
    """Position -> tokens before the patches that it covers, of those that differ."""
    others = int(read["class_token"]) + int(read["distilled"])
    registers: int = read["reg_tokens"]
    options: dict[Position, int] = {"all": others + registers}
    if registers and others:
        options["class"] = others
    if registers or others:
        options["patches"] = 0
    return options


def _has(size: Size, patches: int, patch_size: Size) -> bool:
    return (size[0] // patch_size[0]) * (size[1] // patch_size[1]) == patches


def _is_grid(patches: int, patch_size: Size, wanted: Size | None) -> bool:
    if patches <= 0:
        return False
    return bool(wanted and _has(wanted, patches, patch_size)) or math.isqrt(patches) ** 2 == patches


def _settle_free_size(facts: Facts, overrides: Overrides) -> None:
    """Any size fits."""
    patch_size: Size = facts.value("patch_size")
    if overrides.image_size:
        check_image_size(overrides.image_size, patch_size)
        facts.put("image_size", Fact(overrides.image_size, "given", "your option"))
        return
    stated = overrides.stated.get("image_size")
    same = any(m.values["patch_size"] == patch_size for m in facts.candidates.models)
    if stated:
        check_image_size(stated.value, patch_size)
        facts.put("image_size", stated)
    elif not (same and facts.candidates.fit == "tensors" and facts.of_models("image_size")):
        size = tuple(max(_USUAL_SIZE // p, 1) * p for p in patch_size)
        facts.put("image_size", Fact(size, "assumed", "no tensor tells it: the model takes any"))
