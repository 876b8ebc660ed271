"""The Keras Synthesizer."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from synthesizer.config import SynthesizerConfig
from vit_convert.models.base import ConvertedModel, Endpoints
from vit_convert.models.layers.base import Layer
from vit_convert.models.layers.linear import Linear
from vit_convert.models.layers.mlp import Mlp
from vit_convert.models.layers.norm import LayerNorm
from vit_convert.models.layers.pooling import PoolTokens
from vit_convert.models.layers.tokens import PatchEmbed, PositionEmbedding


class Block(Layer):
    """A learned mixture of the tokens, and an MLP."""

    def __init__(self, config: SynthesizerConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        policy, dim = self.dtype_policy, config.embed_dim
        self.norm1 = LayerNorm(config.norm_eps, dtype=policy, name="norm1")
        self.value = Linear(config.value_dim, dtype=policy, name="value")
        self.proj = Linear(dim, dtype=policy, name="proj")
        self.norm2 = LayerNorm(config.norm_eps, dtype=policy, name="norm2")
        self.mlp = Mlp(config.mlp_dim, dim, config.gelu, 0.0, dtype=policy, name="mlp")

    def build(self, input_shape: tf.TensorShape) -> None:
        """Create the scores (n, n)."""
        self.scores = self.add_weight("scores", (input_shape[1], input_shape[1]))
        super().build(input_shape)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """(batch, n, dim) -> the same shape."""
        mixed = tf.matmul(tf.nn.softmax(self.scores), self.value(self.norm1(x)))
        x = x + self.proj(mixed)
        return x + self.mlp(self.norm2(x))


class Synthesizer(ConvertedModel):
    """images (batch, height, width, channels) -> logits (batch, classes)."""

    architecture = "synthesizer"

    @staticmethod
    def connect(config: SynthesizerConfig, images: tf.Tensor, dtype: Any) -> Endpoints:
        """The forward pass."""
        points: Endpoints = {}
        x = PatchEmbed(config.patch_size, config.embed_dim, dtype=dtype, name="patch_embed")(images)
        x = points["embeddings"] = PositionEmbedding(dtype=dtype, name="pos_embed")(x)
        for i in range(config.depth):
            x = points[f"blocks.{i}"] = Block(config, dtype=dtype, name=f"blocks.{i}")(x)
        x = LayerNorm(config.norm_eps, dtype=dtype, name="norm")(x)
        points["features"] = points["logits"] = PoolTokens("avg", 0, dtype=dtype, name="pool")(x)
        if config.num_classes:
            head = Linear(config.num_classes, dtype="float32", name="head")
            points["logits"] = head(points["features"])
        return points
