"""The steps of recognition that architectures share: facts, published variants, the patch grid."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from vit_convert.architectures.base import (
    Fact,
    Overrides,
    Preprocessing,
    Recognition,
    TransformerConfig,
    Variant,
    way_out,
)
from vit_convert.architectures.parameters import Shape
from vit_convert.architectures.ranges import as_text
from vit_convert.errors import RecognitionError, UsageError
from vit_convert.runtime.limits import BLOCKS

# what fine-tuning changes
_SIZE_FIELDS = {"image_size", "patch_size", "in_channels"}


def depth_of(shapes: Mapping[str, Shape], prefix: str) -> int:
    """Number of consecutive blocks `prefix.0`, `prefix.1`, ...

    Raises:
        RecognitionError: there are none, or one between the first and the last is missing.
    """
    index = re.compile(rf"{re.escape(prefix)}\.([0-9]{{1,5}})\.")
    indices = {int(match[1]) for name in shapes if (match := index.match(name))}
    if not indices:
        raise RecognitionError(
            f"no blocks found: nothing is named {prefix}.0.*",
            expected=f"{prefix}.0, {prefix}.1, ...",
        )
    BLOCKS.check(len(indices), error=RecognitionError)
    if missing := sorted(set(range(max(indices) + 1)) - indices):
        more = f", ... ({len(missing)} in all)" if missing[20:] else ""
        raise RecognitionError(
            f"blocks are missing: {', '.join(f'{prefix}.{i}' for i in missing[:20])}{more}",
            expected=f"{prefix}.0 to {prefix}.{max(indices)}",
            hint="a checkpoint that holds the whole model",
        )
    return len(indices)


def shape_of(shapes: Mapping[str, Shape], name: str, rank: int) -> Shape:
    """The shape of a tensor that must be there, with that rank.

    Raises:
        RecognitionError: it is missing or has another rank.
    """
    shape = shapes.get(name)
    if shape is None:
        raise RecognitionError(f"{name} is missing", expected=f"a tensor of rank {rank}")
    if len(shape) != rank or 0 in shape:
        raise RecognitionError(
            "unexpected shape", where=f"{name} {shape}", expected=f"a tensor of rank {rank}"
        )
    return shape


def source_image_size(
    patches: int, patch_size: tuple[int, int], wanted: tuple[int, int] | None
) -> tuple[int, int]:
    """The image size that a position embedding for so many patches was trained at.

    A square number of patches is a square grid; otherwise the size that the user states tells. The
    stated size need not be a multiple of the patch's: SigLIP so400m sees 27 x 27 patches of 14
    in 384 pixels. Where none is stated that has this grid, it is the smallest that has.

    Raises:
        RecognitionError: the number is no square and the stated size does not have as many patches.
    """
    grid = (wanted[0] // patch_size[0], wanted[1] // patch_size[1]) if wanted else (0, 0)
    side = math.isqrt(patches)
    square = side * side == patches
    if wanted and (grid == (side, side) if square else grid[0] * grid[1] == patches):
        return wanted
    if square:
        return side * patch_size[0], side * patch_size[1]
    raise RecognitionError(
        f"the position embedding has {patches} patches, which is no square number",
        where="pos_embed",
        expected="a square grid, or the picture's size stated",
        hint="--image-size HEIGHTxWIDTH as the model was trained",
    )


def check_image_size(size: tuple[int, int], patch_size: tuple[int, int]) -> None:
    """Raises UsageError unless there is a whole patch in each direction."""
    if any(s < p for s, p in zip(size, patch_size, strict=True)):
        raise UsageError(
            f"the image size {size[0]}x{size[1]} is smaller than a patch",
            expected=f"{patch_size[0]}x{patch_size[1]} or more",
        )


def find_variants(
    variants: Sequence[Variant], known: Mapping[str, Any], hint: str
) -> tuple[list[Variant], list[Variant], list[Variant]]:
    """Published variants with all the known values; those that may differ in the sizes of images
    and patches; and those of the same widths and depth.

    A variant whose name stands in `hint` (the file's name) comes first, then the registry's order.
    """
    widths = ("embed_dim", "depth", "mlp_dim")
    ordered = sorted(variants, key=lambda v: -len(v.name) if v.name in hint else 0)

    def fitting(keys: Iterable[str]) -> list[Variant]:
        return [v for v in ordered if all(getattr(v.config, k) == known[k] for k in keys)]

    kind = [key for key in known if key not in _SIZE_FIELDS]
    return fitting(known), fitting(kind), fitting(widths)


def chosen_variant(
    variants: Sequence[Variant], known: Mapping[str, Any], name: str
) -> list[Variant]:
    """The variant that the user names, as a list of one.

    Raises:
        UsageError: there is none of that name, or its widths are not the checkpoint's.
    """
    named = [v for v in variants if v.name == name]
    if not named:
        raise UsageError(
            f"no variant is called {name!r}",
            where="--variant",
            expected=", ".join(v.name for v in variants),
        )
    config = named[0].config
    for key in ("embed_dim", "depth", "mlp_dim", "patch_size"):
        if getattr(config, key) != known[key]:
            raise UsageError(
                f"the checkpoint is no {name}: {key} is {known[key]}",
                where="--variant",
                expected=f"{key} {getattr(config, key)}",
            )
    return named


def matching_variants(
    variants: Sequence[Variant], read: Mapping[str, Any], overrides: Overrides, hint: str
) -> tuple[list[Variant], list[Variant], list[Variant]]:
    """As `find_variants` of what was read; or the one that the user names, three times.

    Raises:
        UsageError: as `chosen_variant`.
    """
    if overrides.variant:
        chosen = chosen_variant(variants, read, overrides.variant)
        return chosen, chosen, chosen
    known = {k: v for k, v in read.items() if k not in ("num_classes", "head_bias")}
    return find_variants(variants, known, hint)


def settle(
    variants: Sequence[Variant],
    read: Mapping[str, Any],
    config_class: type[TransformerConfig],
    overrides: Overrides,
    hint: str,
    default_preprocessing: Preprocessing,
) -> Recognition:
    """Combine what was read with what published variants, the user and defaults say.

    Where several published variants fit and disagree, the first one's value is taken and called
    assumed.

    Args:
        variants: those of the architecture.
        read: configuration values that names and shapes tell.
        config_class: the architecture's configuration.
        overrides: the user's options.
        hint: the checkpoint's file name.
        default_preprocessing: for models that match no published variant.

    Raises:
        UsageError, RecognitionError: options contradict the checkpoint, or the number of heads
            can be neither known nor guessed.
    """
    facts = {key: Fact(value, "read", "from names and shapes") for key, value in read.items()}
    _check_stated(overrides, facts)
    exact, family, alike = matching_variants(variants, read, overrides, hint)
    published = exact or family or alike

    def settle_field(name: str, candidates: Sequence[Variant], default: Any) -> None:
        owner = "preprocessing" if hasattr(default_preprocessing, name) else "config"
        values = [getattr(getattr(v, owner), name) for v in candidates]
        if stated := overrides.fact(name):
            facts[name] = stated
        elif values and not (exact or family):
            why = f"as {candidates[0].name}, which has the same widths only"
            facts[name] = Fact(values[0], "assumed", why)
        elif values and len(set(values)) == 1:
            names = candidates[0].name if len(candidates) < 3 else f"{candidates[0].name} and kin"
            facts[name] = Fact(values[0], "published", f"as published for {names}")
        elif values:
            others = {v.name for v in candidates if getattr(getattr(v, owner), name) != values[0]}
            why = f"as {candidates[0].name}; {sorted(others)[0]} differs and looks the same"
            facts[name] = Fact(values[0], "assumed", why)
        else:
            facts[name] = Fact(default, "assumed", "no published variant has these shapes")

    if "num_heads" not in facts:
        default_heads = read["embed_dim"] // 64 if read["embed_dim"] % 64 == 0 else None
        settle_field("num_heads", published, default_heads)
    elif overrides.num_heads not in (None, read["num_heads"]):
        raise UsageError(
            f"the checkpoint has {read['num_heads']} heads by its shapes",
            where=f"--num-heads {overrides.num_heads}",
            expected=f"{read['num_heads']}, or no option",
        )
    settle_field("gelu", published, "erf")
    if "norm_position" in {f.name for f in fields(config_class)}:
        settle_field("norm_position", exact, "pre")
    settle_field("norm_eps", published, 1e-6)
    for item in fields(Preprocessing):
        settle_field(item.name, published, getattr(default_preprocessing, item.name))
    heads = facts["num_heads"].value
    if heads is None or heads <= 0 or read["embed_dim"] % heads:
        raise RecognitionError(
            f"the number of attention heads is not known ({heads} does not divide the width)"
            if heads
            else "the number of attention heads is not known",
            where=f"width {read['embed_dim']}",
            expected="a divisor of the width",
            hint="--num-heads N as in the training code",
        )
    facts = dict(overrides.stated) | facts
    config_fields = {f.name for f in fields(config_class)}
    config = config_class(**{k: f.value for k, f in facts.items() if k in config_fields})
    preprocessing = replace(
        default_preprocessing, **{f.name: facts[f.name].value for f in fields(Preprocessing)}
    )
    return Recognition(config, preprocessing, exact[0].name if exact else "", facts)


def _check_stated(overrides: Overrides, read: Mapping[str, Fact]) -> None:
    """Raises RecognitionError where a file contradicts the tensors and the user says nothing."""
    stated = {k: v for k, v in overrides.stated.items() if getattr(overrides, k, None) is None}
    wrong = {
        name: f"{name} is {as_text(stated[name].value)} ({stated[name].why}), "
        f"but the tensors say {as_text(fact.value)}"
        for name, fact in read.items()
        if name in stated and stated[name].provenance == "read" and stated[name].value != fact.value
    }
    if wrong:
        raise RecognitionError(
            f"what is stated is of another model: {'; '.join(wrong.values())}",
            expected="what was saved with the checkpoint",
            hint=way_out(wrong),
        )
