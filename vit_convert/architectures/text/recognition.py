"""The configuration of a text tower: what its tensors tell, and what is stated of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from vit_convert.architectures.base import Fact
from vit_convert.architectures.parameters import Shape
from vit_convert.architectures.ranges import as_text
from vit_convert.architectures.recognition import depth_of, shape_of
from vit_convert.architectures.text.config import TextConfig
from vit_convert.errors import RecognitionError

_CHANNELS_A_HEAD = 64  # of all of OpenAI's CLIP, and most others


@dataclass(frozen=True)
class TextRecognition:
    """A recognised text tower.

    Attributes:
        config: its configuration.
        facts: field of it -> how the value is known.
    """

    config: TextConfig
    facts: dict[str, Fact]


def recognise_text(
    shapes: Mapping[str, Shape], stated: Mapping[str, Fact], where: str
) -> TextRecognition:
    """The configuration of a text tower.

    Args:
        shapes: canonical name -> shape.
        stated: field -> what the naming scheme or a file says.
        where: the checkpoint, for messages.

    Raises:
        RecognitionError: the tensors are no text tower's, or a file says something else.
    """
    vocab_size, dim = shape_of(shapes, "token_embed.weight", 2)
    read = {
        "vocab_size": vocab_size,
        "embed_dim": dim,
        "context_length": shape_of(shapes, "pos_embed", 3)[1],
        "depth": depth_of(shapes, "blocks"),
        "mlp_dim": shape_of(shapes, "blocks.0.mlp.fc1.weight", 2)[0],
        "out_dim": shape_of(shapes, "head.weight", 2)[0] if "head.weight" in shapes else 0,
        "out_bias": "head.bias" in shapes,
    }
    facts = {name: Fact(value, "read", "from names and shapes") for name, value in read.items()}
    for name, fact in stated.items():
        known = facts.setdefault(name, fact)
        if known.value != fact.value and fact.provenance == "read":
            raise RecognitionError(
                f"{name} of the text tower is {as_text(fact.value)} ({fact.why}), "
                f"but the tensors say {as_text(known.value)}",
                where=where,
                expected="the files that were saved with the checkpoint",
            )
    if "num_heads" not in facts:
        why = f"{_CHANNELS_A_HEAD} channels a head, as OpenAI's CLIP has them"
        facts["num_heads"] = Fact(max(dim // _CHANNELS_A_HEAD, 1), "assumed", why)
    heads = facts["num_heads"]
    if dim % heads.value:
        raise RecognitionError(
            f"{heads.value} attention heads ({heads.why}) do not divide the width {dim} of the "
            "text tower",
            where=where,
            expected="a config.json or open_clip_config.json beside it that says how many it has",
        )
    names = {f.name for f in fields(TextConfig)}
    config = TextConfig(**{k: fact.value for k, fact in facts.items() if k in names})
    if config.pool == "end" and not 0 <= (config.end_token or 0) < vocab_size:
        raise RecognitionError(
            f"the end token {config.end_token} ({facts['end_token'].why}) is not among the "
            f"{vocab_size} of the text tower",
            where=where,
            expected="the config.json that was saved with the checkpoint",
        )
    return TextRecognition(config, facts)
