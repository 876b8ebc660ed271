"""Writes a rule file to be filled in, for a checkpoint that no dialect knows."""

from __future__ import annotations

import re
from collections.abc import Iterable

from vit_convert.architectures import ModelSpec, ViTConfig
from vit_convert.checkpoint.tensor import Tensors

_INDEX = re.compile(r"(?<=[._/])\d+(?=[._/])")
_LEAVES = ("weight", "bias")
_OPTIONAL = {
    "cls_token": "if there is a class token",
    "reg_token": "if there are register tokens",
    "blocks.{i}.ls1.gamma": "if there is LayerScale",
    "blocks.{i}.ls2.gamma": "if there is LayerScale",
    "norm_pre.{leaf}": "if there is a norm before the blocks",
    "fc_norm.{leaf}": "if there is a norm after pooling",
    "norm.{leaf}": "if there is a norm after the last block",
}
# sizes that occur in no sum or product of the others, to tell which side of a shape is which
_SIDES = {
    3: "channels",
    5: "patch height",
    13: "patch width",
    101: "dim",
    303: "3 dim",
    211: "hidden",
    401: "classes",
    17: "registers",
}


def rules_template(tensors: Tensors) -> str:
    """A rule file with the checkpoint's names on the left and nothing on the right.

    Args:
        tensors: the checkpoint's.
    """
    rows = [(f'"{name}" = ""', f"# {about}") for name, about in folded(tensors)]
    width = max(len(row[0]) for row in rows)
    wanted = "\n".join(f"#   {name:{_NAMES}}  {about}" for name, about in canonical())
    left = "\n".join(f"{name:{width}}  {about}" for name, about in rows)
    return f"""\
# The names of a checkpoint, and what vit-convert calls the same things.
# {{i}} is a block's index, {{leaf}} weight or bias. Shapes are PyTorch's.
# Write a name of the model's between the quotation marks; where several tensors make one, or an
# array has another layout, write a [[rule]] instead of the line (docs/dialects.md):
#
#   [[rule]]
#   from = ["encoder.{{i}}.q.{{leaf}}", "encoder.{{i}}.k.{{leaf}}", "encoder.{{i}}.v.{{leaf}}"]
#   to = "blocks.{{i}}.attn.qkv.{{leaf}}"
#   transform = "joined 3"
#
# The model's names:
{wanted}

name = "mine"
title = "my trainer's ViT"

[rename]
{left}

[ignore]
# "decoder.{{rest}}" = "for pre-training only"

[values]
# num_heads = 12
# gelu = "erf"
# norm_eps = 1e-6
"""


_NAMES = 28


def folded(tensors: Tensors) -> list[tuple[str, str]]:
    """Patterns of a checkpoint's names, with shapes and how many blocks have it."""
    groups: dict[str, tuple[set[str], tuple[int, ...]]] = {}
    for name in tensors:
        pattern = _INDEX.sub("{i}", name, count=1)
        for leaf, other in (_LEAVES, _LEAVES[::-1]):
            if re.search(rf"[._/]{leaf}$", name) and name[: -len(leaf)] + other in tensors:
                pattern = pattern[: -len(leaf)] + "{leaf}"
                break
        match = _INDEX.search(name)
        blocks, _ = groups.setdefault(pattern, (set(), ()))
        if match:
            blocks.add(match.group())
        if not name.endswith("bias") or "{leaf}" not in pattern:
            groups[pattern] = blocks, tensors[name].shape
    return [
        (pattern, f"{shape}{f', {len(blocks)} blocks' if blocks else ''}")
        for pattern, (blocks, shape) in groups.items()
    ]


def canonical() -> Iterable[tuple[str, str]]:
    """A Vision Transformer's parameters as patterns, with their shapes in words."""
    config = ViTConfig(
        image_size=(7 * 5, 11 * 13),
        patch_size=(5, 13),
        num_classes=401,
        embed_dim=101,
        depth=1,
        num_heads=1,
        mlp_dim=211,
        reg_tokens=17,
        layer_scale=True,
        pre_norm=True,
        fc_norm=True,
        position="class",
    )
    seen = dict.fromkeys(_INDEX.sub("{i}", p.name) for p in ModelSpec("vit", config).parameters())
    for parameter in ModelSpec("vit", config).parameters():
        name = _INDEX.sub("{i}", parameter.name)
        stem, _, leaf = name.rpartition(".")
        if leaf == "bias" and f"{stem}.weight" in seen:
            continue
        if leaf == "weight" and f"{stem}.bias" in seen:
            name = f"{stem}.{{leaf}}"
        sides = ", ".join(_SIDES.get(side, str(side)) for side in parameter.shape)
        tokens = "1 + patches" if name == "pos_embed" else ""
        shape = f"(1, {tokens}, dim)" if tokens else f"({sides})"
        yield name, f"{shape} {_OPTIONAL.get(name, '')}".rstrip()
