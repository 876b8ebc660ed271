"""Self-attention, with talking heads or without, and class attention.

Every tensor has rank <= 4 with the batch first, and k is transposed as it is split, so that the
same operations serve for training, a SavedModel, and mobile GPU delegates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import tensorflow as tf
import tf_keras

from vit_convert.models.layers.linear import Linear
from vit_convert.models.layers.mix_heads import MixHeads
from vit_convert.models.layers.norm import LayerNorm
from vit_convert.models.layers.relative_position import RelativePosition
from vit_convert.models.layers.rotary import Tables, in_halves, turned


@dataclass(frozen=True)
class AttentionOptions:
    """What the attention layers have in common.

    Attributes:
        dim: width of the tokens.
        num_heads: heads, each of dim / num_heads channels.
        qkv_bias: whether q, k and v have a bias.
        attn_drop, proj_drop: dropout on the attention weights and on the output.
        scaled: the model is folded: the scale head_dim ** -0.5 is in the weights of q already, the
            parameters of the norm before the projection are in the projection.
        queries: how many tokens ask, the first ones; all by default.
        norm_eps: epsilon of the norms.
        qk_norm: LayerNorm over the channels of each head of q and k.
        norm: LayerNorm before the projection.
        relative_grid: patches per column and per row for a relative position bias of its own.
        interleaved: rotary position embedding, where there is one, turns pairs of neighbours.
    """

    dim: int
    num_heads: int
    qkv_bias: bool = True
    attn_drop: float = 0.0
    proj_drop: float = 0.0
    scaled: bool = False
    queries: int | None = None
    norm_eps: float = 1e-6
    qk_norm: bool = False
    norm: bool = False
    relative_grid: tuple[int, int] | None = None
    interleaved: bool = False


def split_heads(x: tf.Tensor, num_heads: int, axes: tuple[int, ...] = (0, 2, 1, 3)) -> tf.Tensor:
    """(batch, n, dim) -> (batch, heads, n, dim / heads), or another order of (b, n, h, d)."""
    _, n, dim = x.shape
    return tf.transpose(tf.reshape(x, (-1, n, num_heads, dim // num_heads)), axes)


def merge_heads(x: tf.Tensor) -> tf.Tensor:
    """(batch, heads, n, d) -> (batch, n, heads * d)."""
    _, heads, n, d = x.shape
    return tf.reshape(tf.transpose(x, (0, 2, 1, 3)), (-1, n, heads * d))


def softmax(scores: tf.Tensor) -> tf.Tensor:
    """Over the last axis, in float32 whatever the policy."""
    return tf.cast(tf.nn.softmax(tf.cast(scores, tf.float32)), scores.dtype)


class _AttentionBase(tf_keras.layers.Layer):
    def __init__(self, options: AttentionOptions, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.options = options
        self.norm: LayerNorm | None = None  # of what the heads give, before the projection

    def _linear(self, units: int, name: str, use_bias: bool = True) -> Linear:
        return Linear(units, use_bias, dtype=self.dtype_policy, name=name)

    def _scores(self, q: tf.Tensor, k: tf.Tensor) -> tf.Tensor:
        """(b, n, dim), (b, m, dim) -> (b, heads, n, m), scaled."""
        heads = self.options.num_heads
        if not self.options.scaled:
            q = q * (self.options.dim // heads) ** -0.5
        return tf.matmul(split_heads(q, heads), split_heads(k, heads, (0, 2, 3, 1)))

    def _attend(self, weights: tf.Tensor, v: tf.Tensor, training: bool | None) -> tf.Tensor:
        """(b, heads, n, m), (b, m, dim) -> (b, n, dim), projected."""
        weights = self.attn_drop(weights, training=training)
        mixed = merge_heads(tf.matmul(weights, split_heads(v, self.options.num_heads)))
        if self.norm is not None:
            mixed = self.norm(mixed)
        return self.proj_drop(self.proj(mixed), training=training)

    def _add_output(self) -> None:
        self.proj = self._linear(self.options.dim, "proj")
        self.attn_drop = tf_keras.layers.Dropout(self.options.attn_drop, dtype=self.dtype_policy)
        self.proj_drop = tf_keras.layers.Dropout(self.options.proj_drop, dtype=self.dtype_policy)


class Attention(RelativePosition, _AttentionBase):
    """Multi-head self-attention (Vaswani et al. 2017, arXiv:1706.03762) with a fused qkv."""

    def __init__(self, options: AttentionOptions, **kwargs: Any) -> None:
        super().__init__(options, **kwargs)
        eps, policy = options.norm_eps, self.dtype_policy
        self.qkv = self._linear(3 * options.dim, "qkv", options.qkv_bias)
        if options.qk_norm:
            self.q_norm = LayerNorm(eps, dtype=policy, name="q_norm")
            self.k_norm = LayerNorm(eps, dtype=policy, name="k_norm")
        if options.norm:
            self.norm = LayerNorm(eps, affine=not options.scaled, dtype=policy, name="norm")
        self._add_output()

    def build(self, input_shape: tf.TensorShape) -> None:
        """Create the table of the relative position bias, if there is one."""
        if self.options.relative_grid:
            self.add_relative_position(
                self.options.relative_grid, self.options.num_heads, self.options.scaled
            )
        super().build(input_shape)

    def call(
        self,
        x: tf.Tensor,
        bias: tf.Tensor | None = None,
        rotary: Tables | None = None,
        training: bool | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """(batch, n, dim), what is added to the scores (1, heads, n, n), what turns q and k
        -> (batch, queries, dim), attention weights (batch, heads, n, n).

        Where not all tokens ask, exported graphs keep the weights of the others only if they are an
        output.
        """
        q, k, v = tf.split(self.qkv(x), 3, axis=-1)
        if self.options.qk_norm:
            q, k = self._per_head(self.q_norm, q), self._per_head(self.k_norm, k)
        if self.options.relative_grid:
            bias = self.relative_position()
        count = self.options.queries  # AutoGraph knows no assignment expressions
        first = None if count is None else q[:, :count]
        if rotary is not None:  # the first tokens, which are no patches, are not turned
            turn = partial(turned, tables=rotary, interleaved=self.options.interleaved)
            q, k = self._per_head(turn, q), self._per_head(turn, k)
            if first is not None and self.options.interleaved:
                first = self._per_head(in_halves, first)
        weights = asked = self._weights(q, k, bias)
        if first is not None:
            asked = self._weights(first, k, None if bias is None else bias[:, :, :count])
        return self._attend(asked, v, training), weights

    def _weights(self, q: tf.Tensor, k: tf.Tensor, bias: tf.Tensor | None) -> tf.Tensor:
        """(b, n, dim), (b, m, dim), what is added to the scores (1, heads, n, m)
        -> (b, heads, n, m)."""
        scores = self._scores(q, k)
        return softmax(scores if bias is None else scores + tf.cast(bias, scores.dtype))

    def _per_head(self, change: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor) -> tf.Tensor:
        """What `change` makes of (batch, n, heads, d), for (batch, n, dim) -> the same shape."""
        _, n, dim = x.shape
        heads = self.options.num_heads
        return tf.reshape(change(tf.reshape(x, (-1, n, heads, dim // heads))), (-1, n, dim))


class TalkingHeadsAttention(_AttentionBase):
    """Self-attention whose heads are mixed before and after the softmax (Shazeer et al. 2020,
    arXiv:2003.02436), as CaiT's blocks have it."""

    def __init__(self, options: AttentionOptions, **kwargs: Any) -> None:
        super().__init__(options, **kwargs)
        self.qkv = self._linear(3 * options.dim, "qkv", options.qkv_bias)
        self._add_output()
        heads, folded = options.num_heads, options.scaled
        self.proj_l = MixHeads(heads, folded, dtype=self.dtype_policy, name="proj_l")
        self.proj_w = MixHeads(heads, folded, dtype=self.dtype_policy, name="proj_w")

    def call(self, x: tf.Tensor, training: bool | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """(batch, n, dim) -> (batch, n, dim), attention weights (batch, heads, n, n)."""
        q, k, v = tf.split(self.qkv(x), 3, axis=-1)
        weights = self.proj_w(softmax(self.proj_l(self._scores(q, k))))
        return self._attend(weights, v, training), weights


class ClassAttention(_AttentionBase):
    """Attention in which the first token alone asks (Touvron et al. 2021, arXiv:2103.17239)."""

    def __init__(self, options: AttentionOptions, **kwargs: Any) -> None:
        super().__init__(options, **kwargs)
        self.q = self._linear(options.dim, "q", options.qkv_bias)
        self.k = self._linear(options.dim, "k", options.qkv_bias)
        self.v = self._linear(options.dim, "v", options.qkv_bias)
        self._add_output()

    def call(self, x: tf.Tensor, training: bool | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """(batch, n, dim) -> (batch, 1, dim), attention weights (batch, heads, 1, n)."""
        weights = softmax(self._scores(self.q(x[:, 0:1]), self.k(x)))
        return self._attend(weights, self.v(x), training), weights
