"""Heads that give values for every pixel: DPT's, from tokens of several blocks, and a linear one.

Ranftl et al. 2021, "Vision Transformers for Dense Prediction" (arXiv:2103.13413), as transformers'
modeling_dpt.py and modeling_depth_anything.py have it.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from vit_convert.architectures.dense.config import DenseConfig, Size, stride_of
from vit_convert.architectures.dense.parameters import NORM_EPSILON
from vit_convert.models.layers.base import Layer
from vit_convert.models.layers.linear import Linear
from vit_convert.models.layers.mlp import gelu


def resized(x: tf.Tensor, size: Size, align_corners: bool) -> tf.Tensor:
    """Bilinear resizing, as torch.nn.functional.interpolate: (batch, height, width, channels) ->
    (batch, *size, channels). With `align_corners` the corners stay where they are."""
    return tf.raw_ops.ResizeBilinear(
        images=x, size=size, align_corners=align_corners, half_pixel_centers=not align_corners
    )


class Convolution(Layer):
    """A convolution with zeros at the edges, so that a stride of 1 keeps the size.

    Args:
        channels: of the result.
        side: of the filter, odd.
        stride: in both directions.
        use_bias: whether there is a bias.
    """

    def __init__(
        self, channels: int, side: int, stride: int = 1, use_bias: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.channels, self.side, self.stride, self.use_bias = channels, side, stride, use_bias

    def build(self, input_shape: tf.TensorShape) -> None:
        """Create kernel (side, side, inputs, outputs) and bias."""
        shape = (self.side, self.side, input_shape[-1], self.channels)
        self.kernel = self.add_weight("kernel", shape, initializer="he_normal")
        if self.use_bias:
            self.bias = self.add_weight("bias", (self.channels,), initializer="zeros")
        super().build(input_shape)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """(batch, height, width, inputs) -> (batch, rows, columns, channels)."""
        edge = [self.side // 2] * 2
        padding = [[0, 0], edge, edge, [0, 0]]
        y = tf.nn.conv2d(x, self.kernel, self.stride, padding)
        return y + self.bias if self.use_bias else y


class Enlargement(Layer):
    """A transposed convolution whose stride is its filter's side: every pixel becomes a square.

    Args:
        channels: before and after.
        factor: side of the square.
    """

    def __init__(self, channels: int, factor: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.channels, self.factor = channels, factor

    def build(self, input_shape: tf.TensorShape) -> None:
        """Create kernel (factor, factor, outputs, inputs) and bias."""
        shape = (self.factor, self.factor, self.channels, self.channels)
        self.kernel = self.add_weight("kernel", shape, initializer="he_normal")
        self.bias = self.add_weight("bias", (self.channels,), initializer="zeros")
        super().build(input_shape)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """(batch, height, width, channels) -> (batch, factor height, factor width, channels)."""
        rows, columns = x.shape[1] * self.factor, x.shape[2] * self.factor
        size = (tf.shape(x)[0], rows, columns, self.channels)
        y = tf.nn.conv2d_transpose(x, self.kernel, size, self.factor, "VALID")
        return y + self.bias


class BatchNorm(Layer):
    """Batch normalisation by the statistics of training, which stay as they are."""

    def build(self, input_shape: tf.TensorShape) -> None:
        """Create scale, shift and statistics, (channels,) each."""
        shape = (input_shape[-1],)
        self.scale = self.add_weight("weight", shape, initializer="ones")
        self.shift = self.add_weight("bias", shape, initializer="zeros")
        self.mean = self.add_weight("running_mean", shape, initializer="zeros", trainable=False)
        self.variance = self.add_weight("running_var", shape, initializer="ones", trainable=False)
        super().build(input_shape)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """(batch, height, width, channels) -> the same shape."""
        factor = self.scale * tf.math.rsqrt(self.variance + NORM_EPSILON)
        return (x - self.mean) * factor + self.shift


class ResidualUnit(Layer):
    """x + conv2(relu(conv1(relu(x)))), with batch normalisation behind each where there is one."""

    def __init__(self, config: DenseConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        policy, width, bias = self.dtype_policy, config.fusion_dim, config.fusion_bias
        self.conv1 = Convolution(width, 3, use_bias=bias, dtype=policy, name="conv1")
        self.conv2 = Convolution(width, 3, use_bias=bias, dtype=policy, name="conv2")
        normed = config.fusion_norm
        self.norm1 = BatchNorm(dtype=policy, name="norm1") if normed else None
        self.norm2 = BatchNorm(dtype=policy, name="norm2") if normed else None

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """(batch, height, width, channels) -> the same shape."""
        y = self.conv1(tf.nn.relu(x))
        y = y if self.norm1 is None else self.norm1(y)
        y = self.conv2(tf.nn.relu(y))
        y = y if self.norm2 is None else self.norm2(y)
        return y + x


class FusionLayer(Layer):
    """Adds a map to the sum of those from deeper blocks, and resizes the new sum.

    Args:
        config: of the model.
        size: (height, width) of the result.
        first: whether there is no sum yet.
    """

    def __init__(self, config: DenseConfig, size: Size, first: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.size = size
        self.unit1 = None if first else ResidualUnit(config, dtype=policy, name="unit1")
        self.unit2 = ResidualUnit(config, dtype=policy, name="unit2")
        self.out = Convolution(config.fusion_dim, 1, dtype=policy, name="out")

    def call(self, x: tf.Tensor, total: tf.Tensor | None = None) -> tf.Tensor:
        """A map and the sum of deeper ones (batch, height, width, channels) -> (batch, *size,
        channels). DPT's maps may be smaller or larger than the sum by a row or a column."""
        if self.unit1 is not None and total is not None:
            if x.shape[1:3] != total.shape[1:3]:
                x = resized(x, tuple(total.shape[1:3]), align_corners=False)
            x = total + self.unit1(x)
        return self.out(resized(self.unit2(x), self.size, align_corners=True))


class LinearHead(Layer):
    """Scores of classes for each patch, resized to the picture (DINOv2's linear head).

    Args:
        config: of the model.
    """

    def __init__(self, config: DenseConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config
        policy = self.dtype_policy
        self.norm = BatchNorm(dtype=policy, name="norm") if config.head_norm else None
        self.classes = Convolution(config.num_classes, 1, dtype="float32", name="classes")

    def call(self, tokens: tf.Tensor) -> tf.Tensor:
        """Tokens (batch, n, dim) -> (batch, height, width, classes)."""
        config = self.config
        patches = tokens[:, config.num_prefix_tokens :]
        x = tf.reshape(patches, (-1, *config.grid, config.embed_dim))
        x = self.classes(x if self.norm is None else self.norm(x))
        return resized(x, config.image_size, align_corners=False)


class _Numbered(Layer):
    """Layers by number, under one name."""

    def __init__(self, layers: dict[int, Layer], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.indices = tuple(layers)
        for j, layer in layers.items():
            setattr(self, str(j), layer)

    def call(self, x: tf.Tensor, index: int, *others: tf.Tensor) -> tf.Tensor:
        """Apply one of them."""
        return getattr(self, str(index))(x, *others)


class DepthHead(Layer):
    """Readout, reassembly, fusion and three convolutions; see the module.

    Args:
        config: of the model.
    """

    def __init__(self, config: DenseConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config
        policy = self.dtype_policy
        maps = list(enumerate(zip(config.neck_dims, config.neck_factors, strict=True)))

        def numbered(name: str, layers: dict[int, Layer]) -> _Numbered:
            return _Numbered(layers, dtype=policy, name=name)

        def convolution(name: int | str, channels: int, side: int, **options: Any) -> Convolution:
            return Convolution(channels, side, name=str(name), **{"dtype": policy, **options})

        def resize(j: int, channels: int, factor: float) -> Layer:
            if factor > 1:
                return Enlargement(channels, int(factor), dtype=policy, name=str(j))
            return convolution(j, channels, 3, stride=stride_of(factor))

        dim, width = config.embed_dim, config.fusion_dim
        if config.readout == "project":
            self.readout = numbered(
                "readout", {j: Linear(dim, dtype=policy, name=str(j)) for j, _ in maps}
            )
        self.project = numbered("project", {j: convolution(j, c, 1) for j, (c, _) in maps})
        self.resize = numbered("resize", {j: resize(j, c, f) for j, (c, f) in maps if f != 1})
        self.neck = numbered("neck", {j: convolution(j, width, 3, use_bias=False) for j, _ in maps})
        self.fusion = numbered(
            "fusion",
            {
                j: FusionLayer(config, size, j == 0, dtype=policy, name=str(j))
                for j, size in enumerate(config.fused_sizes)
            },
        )
        self.projection = convolution("projection", width, 3) if config.head_projection else None
        self.conv1 = convolution("conv1", width // 2, 3)
        self.conv2 = convolution("conv2", config.head_hidden, 3)
        self.conv3 = convolution("conv3", 1, 1, dtype="float32")

    def call(self, tapped: list[tf.Tensor]) -> tf.Tensor:
        """Tokens (batch, n, dim) of each block that is read -> depth (batch, rows, columns)."""
        config = self.config
        maps = [self._reassembled(j, tokens) for j, tokens in enumerate(tapped)]
        total = self.fusion(maps[-1], 0)
        for j, x in enumerate(maps[-2::-1], 1):
            total = self.fusion(x, j, total)
        if self.projection is not None:
            total = tf.nn.relu(self.projection(total))
        x = resized(self.conv1(total), config.output_size, align_corners=True)
        depth = self.conv3(tf.nn.relu(self.conv2(x)))[..., 0]
        activation = tf.nn.relu if config.depth_activation == "relu" else tf.nn.sigmoid
        return activation(depth) * config.max_depth

    def _reassembled(self, j: int, tokens: tf.Tensor) -> tf.Tensor:
        """Tokens (batch, n, dim) -> a map (batch, height, width, fusion_dim)."""
        config = self.config
        skipped = config.num_prefix_tokens
        patches, read = tokens[:, skipped:], tokens[:, :1]
        if config.readout == "add":
            patches = patches + read
        elif config.readout == "project":
            both = tf.concat([patches, tf.repeat(read, config.num_patches, axis=1)], axis=-1)
            patches = gelu(self.readout(both, j), config.gelu)
        x = tf.reshape(patches, (-1, *config.grid, config.embed_dim))
        x = self.project(x, j)
        if config.neck_factors[j] != 1:
            x = self.resize(x, j)
        return self.neck(x, j)
