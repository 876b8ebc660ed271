"""The blocks of a Vision Transformer, with the module trees of timm's."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from vit_convert.architectures import ViTConfig
from vit_convert.architectures.vit.rotary import turns_neighbours
from vit_convert.models.layers.attention import Attention, AttentionOptions
from vit_convert.models.layers.base import Layer
from vit_convert.models.layers.mlp import Mlp
from vit_convert.models.layers.norm import MakeNorm, Norm, norms
from vit_convert.models.layers.residual import DropPath, LayerScale
from vit_convert.models.layers.rotary import Tables
from vit_convert.models.layers.swiglu import SwiGlu


def _attention(config: ViTConfig, policy: Any) -> Attention:
    options = AttentionOptions.of(
        config,
        proj_bias=config.proj_bias,
        norm_kind=config.norm,
        norm_bias=config.norm_bias,
        qk_norm=config.qk_norm,
        norm=config.attn_norm,
        relative_grid=config.grid if config.rel_pos == "blocks" else None,
        rotary_neighbours=turns_neighbours(config.rotary),
    )
    return Attention(options, dtype=policy, name="attn")


def _mlp(config: ViTConfig, policy: Any) -> Mlp | SwiGlu:
    sizes = (config.mlp_dim, config.embed_dim)
    norm = norms_of(config, policy)(name="norm") if config.mlp_norm else None
    others: dict[str, Any] = {"drop": config.drop_rate, "norm": norm, "use_bias": config.mlp_bias}
    if config.mlp == "plain":
        return Mlp(*sizes, config.gelu, **others, dtype=policy, name="mlp")
    return SwiGlu(*sizes, config.mlp == "swiglu-packed", **others, dtype=policy, name="mlp")


def norms_of(config: ViTConfig, policy: Any) -> MakeNorm:
    """What makes all norms of a model, given their names."""
    return norms(config.norm, config.norm_eps, config.norm_bias, policy)


def _scale(config: ViTConfig, policy: Any, name: str) -> LayerScale | None:
    return LayerScale(dtype=policy, name=name) if config.layer_scale else None


class Block(Layer):
    """Attention and MLP, each added to the tokens; norms stand where `norm_position` says.

    Args:
        config: of the model.
        drop_path: the rate of stochastic depth.
    """

    def __init__(self, config: ViTConfig, drop_path: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.norm_position = config.norm_position
        norm = norms_of(config, policy)
        self.norm1 = norm(name="norm1")
        self.attn = _attention(config, policy)
        self.ls1 = _scale(config, policy, "ls1")
        self.norm2 = norm(name="norm2")
        self.mlp = _mlp(config, policy)
        self.ls2 = _scale(config, policy, "ls2") if config.mlp_layer_scale else None
        self.drop_path = DropPath(drop_path, dtype=policy)

    def call(
        self,
        x: tf.Tensor,
        bias: tf.Tensor | None = None,
        rotary: Tables | None = None,
        training: bool | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """(batch, n, dim), a bias of the attention scores (1, heads, n, n), tables that turn q
        and k -> (batch, n, dim), attention weights (batch, heads, n, n)."""
        normal = self.norm1(x) if self.norm_position == "pre" else x
        branch, weights = self.attn(normal, bias=bias, rotary=rotary, training=training)
        x = self._add(x, branch, self.norm1, self.ls1, training)
        normal = self.norm2(x) if self.norm_position == "pre" else x
        branch = self.mlp(normal, training=training)
        return self._add(x, branch, self.norm2, self.ls2, training), weights

    def _add(
        self,
        x: tf.Tensor,
        branch: tf.Tensor,
        norm: Norm,
        scale: LayerScale | None,
        training: bool | None,
    ) -> tf.Tensor:
        """Tokens and branch (batch, n, dim) -> their sum, normalised where the norm follows."""
        if scale is not None:
            branch = scale(branch)
        if self.norm_position == "res-post":
            branch = norm(branch)
        x = x + self.drop_path(branch, training=training)
        return norm(x) if self.norm_position == "post" else x


class _Branch(Layer):
    """A norm, then attention or MLP, then LayerScale."""

    def __init__(self, config: ViTConfig, kind: str, drop_path: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.norm = norms_of(config, policy)(name="norm")
        self.attn = _attention(config, policy) if kind == "attn" else None
        self.mlp = _mlp(config, policy) if kind == "mlp" else None
        self.ls = _scale(config, policy, "ls")
        self.drop_path = DropPath(drop_path, dtype=policy)

    def call(
        self, x: tf.Tensor, training: bool | None = None
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """(batch, n, dim) -> the same shape, attention weights (batch, heads, n, n) if any."""
        branch, weights = self.norm(x), None
        if self.attn is not None:
            branch, weights = self.attn(branch, training=training)
        if self.mlp is not None:
            branch = self.mlp(branch, training=training)
        if self.ls is not None:
            branch = self.ls(branch)
        return self.drop_path(branch, training=training), weights


class _Branches(Layer):
    """Branches that read the same tokens, and are all added to them."""

    def __init__(self, config: ViTConfig, kind: str, drop_path: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.count = config.parallel
        for j in range(self.count):
            setattr(
                self, str(j), _Branch(config, kind, drop_path, dtype=self.dtype_policy, name=str(j))
            )

    def call(self, x: tf.Tensor, training: bool | None = None) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """(batch, n, dim) -> the same shape, each attention's weights (batch, heads, n, n)."""
        found = [getattr(self, str(j))(x, training=training) for j in range(self.count)]
        for branch, _ in found:
            x = x + branch
        return x, [weights for _, weights in found if weights is not None]


class ParallelBlock(Layer):
    """Attentions side by side, then MLPs side by side (Touvron et al. 2022, arXiv:2203.09795).

    Args:
        config, drop_path: as Block's.
    """

    def __init__(self, config: ViTConfig, drop_path: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.attns = _Branches(config, "attn", drop_path, dtype=policy, name="attns")
        self.ffns = _Branches(config, "mlp", drop_path, dtype=policy, name="ffns")

    def call(self, x: tf.Tensor, training: bool | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """(batch, n, dim)
        -> the same shape, attention weights (batch, parallel * heads, n, n)."""
        x, weights = self.attns(x, training=training)
        x, _ = self.ffns(x, training=training)
        return x, tf.concat(weights, axis=1)
