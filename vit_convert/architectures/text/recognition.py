"""The configuration of a text tower: what its tensors tell, and what is stated of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from vit_convert.architectures.base import Fact, Overrides, Preprocessing, Recognition
from vit_convert.architectures.parameters import Shape
from vit_convert.architectures.ranges import as_text
from vit_convert.architectures.recognition import depth_of, shape_of
from vit_convert.architectures.text.config import TextConfig
from vit_convert.errors import RecognitionError

_CHANNELS_A_HEAD = 64  # of all of OpenAI's CLIP, and most others


def read_text(shapes: Mapping[str, Shape], overrides: Overrides) -> dict[str, Any]:
    """See `Architecture.read`.

    Raises:
        RecognitionError: the tensors are no text tower's.
    """
    vocab_size, dim = shape_of(shapes, "token_embed.weight", 2)
    return {
        "vocab_size": vocab_size,
        "embed_dim": dim,
        "context_length": shape_of(shapes, "pos_embed", 3)[1],
        "depth": depth_of(shapes, "blocks"),
        "mlp_dim": shape_of(shapes, "blocks.0.mlp.fc1.weight", 2)[0],
        "out_dim": shape_of(shapes, "head.weight", 2)[0] if "head.weight" in shapes else 0,
        "out_bias": "head.bias" in shapes,
    }


def recognise_text(shapes: Mapping[str, Shape], overrides: Overrides, hint: str) -> Recognition:
    """See `Architecture.recognise`.

    Raises:
        RecognitionError: the tensors are no text tower's, or a file says something else.
    """
    read = read_text(shapes, overrides)
    facts = {name: Fact(value, "read", "from names and shapes") for name, value in read.items()}
    names = [f.name for f in fields(TextConfig)]
    for name in names:
        fact = overrides.fact(name)
        known = facts.get(name)
        if fact is None:
            continue
        if known is None:
            facts[name] = fact
        elif known.value != fact.value and fact.provenance == "read":
            raise RecognitionError(
                f"{name} of the text tower is {as_text(fact.value)} ({fact.why}), "
                f"but the tensors say {as_text(known.value)}",
                expected="the files that were saved with the checkpoint",
            )
    dim = read["embed_dim"]
    if "num_heads" not in facts:
        why = f"{_CHANNELS_A_HEAD} channels a head, as OpenAI's CLIP has them"
        facts["num_heads"] = Fact(max(dim // _CHANNELS_A_HEAD, 1), "assumed", why)
    heads = facts["num_heads"]
    if dim % heads.value:
        raise RecognitionError(
            f"{heads.value} attention heads ({heads.why}) do not divide the width {dim} of the "
            "text tower",
            expected="a config.json or open_clip_config.json beside it that says how many it has",
        )
    ordered = {name: facts[name] for name in names if name in facts}
    values = {name: fact.value for name, fact in ordered.items()}
    if values.get("pool") == "end" and not 0 <= values.get("end_token", -1) < values["vocab_size"]:
        raise RecognitionError(
            f"the end token {values.get('end_token')} "
            f"({facts['end_token'].why if 'end_token' in facts else 'which nothing states'}) "
            f"is not among the {values['vocab_size']} of the text tower",
            expected="the config.json that was saved with the checkpoint",
        )
    return Recognition(TextConfig(**values), Preprocessing(), "", ordered)
