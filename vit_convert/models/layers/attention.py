"""Self-attention, with talking heads or without, and class attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tensorflow as tf
import tf_keras

from vit_convert.architectures import TransformerConfig
from vit_convert.architectures.base import NormKind
from vit_convert.models.layers.base import Layer
from vit_convert.models.layers.linear import Linear
from vit_convert.models.layers.norm import norms
from vit_convert.models.layers.relative_position import RelativePosition
from vit_convert.models.layers.rotary import Tables, turned


@dataclass(frozen=True, kw_only=True)
class AttentionOptions:
    """The options of attention layers.

    Attributes:
        dim: width of the tokens.
        num_heads: heads, each of dim / num_heads channels.
        qkv_bias: whether q, k and v have a bias.
        attn_drop, proj_drop: dropout on the attention weights and on the output.
        norm_eps: epsilon of the norms.
        proj_bias: whether the projection has a bias.
        norm_kind, norm_bias: what the norms are, and whether they have a bias.
        qk_norm: a norm over the channels of each head of q and k.
        norm: a norm before the projection.
        relative_grid: patches per column and per row for a relative position bias of its own.
        rotary_neighbours: rotary position embedding, where there is one, turns pairs of
            neighbours.
    """

    dim: int
    num_heads: int
    qkv_bias: bool
    attn_drop: float
    proj_drop: float
    norm_eps: float
    proj_bias: bool = True
    norm_kind: NormKind = "layer"
    norm_bias: bool = True
    qk_norm: bool = False
    norm: bool = False
    relative_grid: tuple[int, int] | None = None
    rotary_neighbours: bool = False

    @staticmethod
    def of(config: TransformerConfig, **more: Any) -> AttentionOptions:
        """The part of a configuration that concerns attention, and what one architecture adds."""
        return AttentionOptions(
            dim=config.embed_dim,
            num_heads=config.num_heads,
            qkv_bias=config.qkv_bias,
            attn_drop=config.attn_drop_rate,
            proj_drop=config.drop_rate,
            norm_eps=config.norm_eps,
            **more,
        )


def split_heads(x: tf.Tensor, num_heads: int) -> tf.Tensor:
    """(batch, n, heads * d) -> (batch, heads, n, d)."""
    _, n, dim = x.shape
    return tf.transpose(tf.reshape(x, (-1, n, num_heads, dim // num_heads)), (0, 2, 1, 3))


def merge_heads(x: tf.Tensor) -> tf.Tensor:
    """(batch, heads, n, d) -> (batch, n, heads * d)."""
    _, heads, n, d = x.shape
    return tf.reshape(tf.transpose(x, (0, 2, 1, 3)), (-1, n, heads * d))


def scaled_scores(q: tf.Tensor, k: tf.Tensor) -> tf.Tensor:
    """q . k / sqrt(d): (batch, heads, n, d), (batch, heads, m, d) -> (batch, heads, n, m)."""
    return tf.matmul(q * q.shape[-1] ** -0.5, k, transpose_b=True)


def softmax(scores: tf.Tensor) -> tf.Tensor:
    """Over the last axis, in float32 whatever the policy."""
    return tf.cast(tf.nn.softmax(tf.cast(scores, tf.float32)), scores.dtype)


class Attention(RelativePosition, Layer):
    """Multi-head self-attention (Vaswani et al. 2017, arXiv:1706.03762) with a fused qkv."""

    def __init__(self, options: AttentionOptions, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.options = options
        norm = norms(options.norm_kind, options.norm_eps, options.norm_bias, policy)
        self.qkv = Linear(3 * options.dim, options.qkv_bias, dtype=policy, name="qkv")
        if options.qk_norm:
            self.q_norm, self.k_norm = norm(name="q_norm"), norm(name="k_norm")
        if options.norm:
            self.norm = norm(name="norm")
        self.proj = Linear(options.dim, options.proj_bias, dtype=policy, name="proj")
        self.attn_drop = tf_keras.layers.Dropout(options.attn_drop, dtype=policy)
        self.proj_drop = tf_keras.layers.Dropout(options.proj_drop, dtype=policy)

    def build(self, input_shape: tf.TensorShape) -> None:
        """Create the table of the relative position bias, if there is one."""
        if self.options.relative_grid:
            self.add_relative_position(self.options.relative_grid, self.options.num_heads)
        super().build(input_shape)

    def call(
        self,
        x: tf.Tensor,
        bias: tf.Tensor | None = None,
        rotary: Tables | None = None,
        training: bool | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """(batch, n, dim), a bias of the scores (1, heads, n, n), tables that turn q and k
        -> (batch, n, dim), attention weights (batch, heads, n, n)."""
        options = self.options
        q, k, v = [split_heads(y, options.num_heads) for y in tf.split(self.qkv(x), 3, axis=-1)]
        if options.qk_norm:
            q, k = self.q_norm(q), self.k_norm(k)
        if rotary is not None:
            q = turned(q, rotary, options.rotary_neighbours)
            k = turned(k, rotary, options.rotary_neighbours)
        scores = scaled_scores(q, k)
        if options.relative_grid:
            bias = self.relative_position()
        if bias is not None:
            scores = scores + tf.cast(bias, scores.dtype)
        weights = softmax(scores)
        mixed = merge_heads(tf.matmul(self.attn_drop(weights, training=training), v))
        if options.norm:
            mixed = self.norm(mixed)
        return self.proj_drop(self.proj(mixed), training=training), weights


class MixHeads(Linear):
    """A linear layer over the heads (Shazeer et al. 2020, arXiv:2003.02436)."""

    def build(self, input_shape: tf.TensorShape) -> None:
        """Create kernel (heads, heads) and bias (heads,)."""
        super().build((input_shape[1],))

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """(batch, heads, n, m) -> the same shape."""
        return tf.transpose(super().call(tf.transpose(x, (0, 2, 3, 1))), (0, 3, 1, 2))


class TalkingHeadsAttention(Layer):
    """Self-attention whose heads are mixed before and after the softmax (Shazeer et al. 2020,
    arXiv:2003.02436), as in CaiT's blocks."""

    def __init__(self, options: AttentionOptions, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        policy, heads = self.dtype_policy, options.num_heads
        self.num_heads = heads
        self.qkv = Linear(3 * options.dim, options.qkv_bias, dtype=policy, name="qkv")
        self.proj = Linear(options.dim, dtype=policy, name="proj")
        self.proj_l = MixHeads(heads, dtype=policy, name="proj_l")
        self.proj_w = MixHeads(heads, dtype=policy, name="proj_w")
        self.attn_drop = tf_keras.layers.Dropout(options.attn_drop, dtype=policy)
        self.proj_drop = tf_keras.layers.Dropout(options.proj_drop, dtype=policy)

    def call(self, x: tf.Tensor, training: bool | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """(batch, n, dim) -> (batch, n, dim), attention weights (batch, heads, n, n)."""
        q, k, v = [split_heads(y, self.num_heads) for y in tf.split(self.qkv(x), 3, axis=-1)]
        scores = self.proj_l(scaled_scores(q, k))
        weights = self.proj_w(softmax(scores))
        mixed = merge_heads(tf.matmul(self.attn_drop(weights, training=training), v))
        return self.proj_drop(self.proj(mixed), training=training), weights


class ClassAttention(Layer):
    """Attention in which the first token alone asks (Touvron et al. 2021, arXiv:2103.17239)."""

    def __init__(self, options: AttentionOptions, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.num_heads = options.num_heads
        self.q = Linear(options.dim, options.qkv_bias, dtype=policy, name="q")
        self.k = Linear(options.dim, options.qkv_bias, dtype=policy, name="k")
        self.v = Linear(options.dim, options.qkv_bias, dtype=policy, name="v")
        self.proj = Linear(options.dim, dtype=policy, name="proj")
        self.attn_drop = tf_keras.layers.Dropout(options.attn_drop, dtype=policy)
        self.proj_drop = tf_keras.layers.Dropout(options.proj_drop, dtype=policy)

    def call(self, x: tf.Tensor, training: bool | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """(batch, n, dim) -> (batch, 1, dim), attention weights (batch, heads, 1, n)."""
        q = split_heads(self.q(x[:, :1]), self.num_heads)
        k = split_heads(self.k(x), self.num_heads)
        v = split_heads(self.v(x), self.num_heads)
        weights = softmax(scaled_scores(q, k))
        mixed = merge_heads(tf.matmul(self.attn_drop(weights, training=training), v))
        return self.proj_drop(self.proj(mixed), training=training), weights
