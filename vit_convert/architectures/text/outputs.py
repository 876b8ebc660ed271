"""What a text tower takes and gives."""

from __future__ import annotations

from dataclasses import replace

from vit_convert.architectures.outputs import Head, InputSpec, Output, OutputSpec
from vit_convert.architectures.text.config import TextConfig


def token_input(config: TextConfig) -> InputSpec:
    """The one input: the tokens of a text, padded to the context."""
    return InputSpec("tokens", "tokens", ("context",), (config.context_length,))


def text_outputs(config: TextConfig, head: Head, block: int | None) -> dict[Output, OutputSpec]:
    """As `vit_convert.architectures.outputs.Outputs`: the embedding, and the same before it is
    divided by its length, which is what transformers calls the features of a text."""
    text = "The projection" if config.out_dim else "The last norm's token"
    features = OutputSpec(
        "features",
        "features",
        ("dim",),
        (config.embedding_dim,),
        f"{text}, whatever its length.",
        "features",
    )
    embedding = replace(
        features,
        name="embedding",
        kind="embedding",
        meaning=f"{text}, divided by its length.",
        unit="length",
    )
    return {"embedding": embedding, "features": features}
