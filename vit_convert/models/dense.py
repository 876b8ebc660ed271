"""The Keras Vision Transformer with a dense head."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from vit_convert.architectures.dense.config import DenseConfig
from vit_convert.models.base import ConvertedModel, Endpoints
from vit_convert.models.layers.dense import DepthHead, LinearHead
from vit_convert.models.vit import connect_backbone
from vit_convert.models.vit_blocks import norms_of


class DenseTransformer(ConvertedModel):
    """A ViT with a head for every pixel; see `vit_convert.architectures.dense.config.DenseConfig`.

    images (batch, height, width, channels) -> depth (batch, rows, columns), or scores of classes
    (batch, rows, columns, classes), of `DenseConfig.output_size`.
    """

    architecture = "dense"

    @staticmethod
    def connect(config: DenseConfig, images: tf.Tensor, dtype: Any) -> Endpoints:
        """The forward pass."""
        points = connect_backbone(config, images, dtype)
        tapped = [points[f"blocks.{i}"] for i in config.taps]
        if config.final_norm:
            norm = norms_of(config, dtype)(name="norm")
            tapped = [norm(tokens) for tokens in tapped]
        if config.head == "linear":
            head = LinearHead(config, dtype=dtype, name="dense_head")
            points["logits"] = head(tapped[-1])
        else:
            points["logits"] = DepthHead(config, dtype=dtype, name="dense_head")(tapped)
        return points
