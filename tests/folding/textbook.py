"""The forward passes of ViT and CaiT in NumPy, from canonical weights, in float64.

They are written from the papers and timm's modules, know nothing of folding, and share nothing with
the package but configurations. Tokens are (batch, n, dim), weights in PyTorch's layout.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from vit_convert.architectures import CaiTConfig, ViTConfig

Weights = dict[str, np.ndarray]
_erf = np.vectorize(math.erf, otypes=[float])

ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "erf": lambda x: x * (1 + _erf(x / 2**0.5)) / 2,
    "tanh": lambda x: x * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3))) / 2,
    "quick": lambda x: x / (1 + np.exp(-1.702 * x)),
    "relu": lambda x: np.maximum(x, 0),
    "silu": lambda x: x / (1 + np.exp(-x)),
}


def softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


class _Model:
    """Layers by the names of their modules."""

    def __init__(self, config: ViTConfig | CaiTConfig, weights: Weights) -> None:
        self.config = config
        self.weights = {name: array.astype(np.float64) for name, array in weights.items()}

    def linear(self, x: np.ndarray, layer: str) -> np.ndarray:
        return x @ self.weights[f"{layer}.weight"].T + self.weights.get(f"{layer}.bias", 0.0)

    def norm(self, x: np.ndarray, name: str) -> np.ndarray:
        if getattr(self.config, "norm", "layer") == "layer":
            x = x - x.mean(axis=-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + self.config.norm_eps)
        return x * self.weights[f"{name}.weight"] + self.weights.get(f"{name}.bias", 0.0)

    def heads(self, x: np.ndarray, count: int) -> np.ndarray:
        """(batch, n, dim) -> (batch, heads, n, d)"""
        return x.reshape(*x.shape[:2], count, -1).transpose(0, 2, 1, 3)

    def attend(self, weights: np.ndarray, v: np.ndarray) -> np.ndarray:
        """(batch, heads, n, m), (batch, heads, m, d) -> (batch, n, dim)"""
        mixed = (weights @ v).transpose(0, 2, 1, 3)
        return mixed.reshape(*mixed.shape[:2], -1)

    def plain_mlp(self, x: np.ndarray, mlp: str) -> np.ndarray:
        hidden = ACTIVATIONS[self.config.gelu](self.linear(x, f"{mlp}.fc1"))
        if f"{mlp}.norm.weight" in self.weights:
            hidden = self.norm(hidden, f"{mlp}.norm")
        return self.linear(hidden, f"{mlp}.fc2")

    def patches(self, images: np.ndarray) -> np.ndarray:
        (rows, columns), (high, wide) = self.config.grid, self.config.patch_size
        kernel = self.weights["patch_embed.proj.weight"]
        tokens = [
            np.einsum(
                "bhwc,ochw->bo",
                images[:, i * high : (i + 1) * high, j * wide : (j + 1) * wide],
                kernel,
            )
            for i in range(rows)
            for j in range(columns)
        ]
        return np.stack(tokens, axis=1) + self.weights.get("patch_embed.proj.bias", 0.0)

    def repeated(self, name: str, count: int) -> np.ndarray:
        """A learned token, for each picture."""
        return np.repeat(self.weights[name], count, axis=0)


class _ViT(_Model):
    config: ViTConfig

    def tokens(self, images: np.ndarray) -> np.ndarray:
        config, x = self.config, self.patches(images)
        if config.patch_norm:
            x = self.norm(x, "patch_embed.norm")
        present = {
            "cls_token": config.class_token,
            "dist_token": config.distilled,
            "reg_token": config.reg_tokens > 0,
        }
        before = [self.repeated(t, len(x)) for t, there in present.items() if there]
        pos = self.weights.get("pos_embed")
        if config.position == "patches":
            x = x + pos
        elif config.position == "class":
            count = int(config.class_token) + int(config.distilled)
            x = x + pos[:, count:]
            before = [t + pos[:, i : i + 1] if i < count else t for i, t in enumerate(before)]
        x = np.concatenate([*before, x], axis=1)
        if config.position == "all":
            x = x + pos
        return self.norm(x, "norm_pre") if config.pre_norm else x

    def turn(self, x: np.ndarray, block: int) -> np.ndarray:
        """Rotary position embedding: a pair of channels of a patch is a complex number, and is
        multiplied by one of length 1. (batch, heads, n, d) -> the same."""
        config = self.config
        kind, (rows, columns) = config.rotary, config.grid
        pairs, skipped = config.head_dim // 2, config.num_prefix_tokens
        angles = np.empty((config.num_heads, rows, columns, pairs))
        for i in range(rows):
            for j in range(columns):
                if kind == "mixed":
                    freqs = self.weights["rope.freqs"][:, block]
                    angles[:, i, j] = j * freqs[0] + i * freqs[1]
                    continue
                bands = config.rotary_base ** (-np.arange(pairs // 2) / (pairs // 2))
                if kind == "dinov3":
                    of_row, of_column = (
                        2 * np.pi * (2 * (at + 0.5) / count - 1)
                        for at, count in ((i, rows), (j, columns))
                    )
                elif kind == "axial":
                    of_row, of_column = i, j
                else:
                    first = int(kind == "pe" and config.class_token)
                    of_row = (i + first) * config.rotary_grid[0] / rows
                    of_column = (j + first) * config.rotary_grid[1] / columns
                first, second = (
                    (of_column, of_row) if kind in ("axial", "pe") else (of_row, of_column)
                )
                angles[:, i, j] = np.concatenate([first * bands, second * bands])
        turns = np.exp(1j * angles.reshape(config.num_heads, rows * columns, pairs))
        patches = x[:, :, skipped:]
        done = np.empty_like(patches)
        if kind == "dinov3":
            turned = (patches[..., :pairs] + 1j * patches[..., pairs:]) * turns
            done[..., :pairs], done[..., pairs:] = turned.real, turned.imag
        else:
            turned = (patches[..., ::2] + 1j * patches[..., 1::2]) * turns
            done[..., ::2], done[..., 1::2] = turned.real, turned.imag
        return np.concatenate([x[:, :, :skipped], done], axis=2)

    def relative(self, module: str) -> np.ndarray:
        """BEiT's bias of the scores, (heads, n, n)."""
        rows, columns = self.config.grid
        table = self.weights[f"{module}.relative_position_bias_table"]
        places = [(i, j) for i in range(rows) for j in range(columns)]
        bias = np.empty((1 + len(places), 1 + len(places), table.shape[1]))
        bias[0, 1:], bias[1:, 0], bias[0, 0] = table[-3], table[-2], table[-1]
        for a, (i, j) in enumerate(places):
            for b, (k, m) in enumerate(places):
                row = (i - k + rows - 1) * (2 * columns - 1) + j - m + columns - 1
                bias[1 + a, 1 + b] = table[row]
        return bias.transpose(2, 0, 1)

    def attention(self, x: np.ndarray, attn: str, block: int) -> np.ndarray:
        config = self.config
        parts = np.split(self.linear(x, f"{attn}.qkv"), 3, axis=-1)
        q, k, v = (self.heads(part, config.num_heads) for part in parts)
        if config.qk_norm:
            q, k = self.norm(q, f"{attn}.q_norm"), self.norm(k, f"{attn}.k_norm")
        if config.rotary != "none":
            q, k = self.turn(q, block), self.turn(k, block)
        scores = q @ k.swapaxes(2, 3) / config.head_dim**0.5
        if config.rel_pos != "none":
            scores = scores + self.relative("rel_pos_bias" if config.rel_pos == "shared" else attn)
        mixed = self.attend(softmax(scores), v)
        if config.attn_norm:
            mixed = self.norm(mixed, f"{attn}.norm")
        return self.linear(mixed, f"{attn}.proj")

    def mlp(self, x: np.ndarray, mlp: str) -> np.ndarray:
        if self.config.mlp == "plain":
            return self.plain_mlp(x, mlp)
        if self.config.mlp == "swiglu":
            gate, value = self.linear(x, f"{mlp}.fc1_g"), self.linear(x, f"{mlp}.fc1_x")
        else:
            gate, value = np.split(self.linear(x, f"{mlp}.fc1"), 2, axis=-1)
        hidden = ACTIVATIONS["silu"](gate) * value
        if self.config.mlp_norm:
            hidden = self.norm(hidden, f"{mlp}.norm")
        return self.linear(hidden, f"{mlp}.fc2")

    def block(self, x: np.ndarray, i: int) -> np.ndarray:
        for kind, group, number in (("attn", "attns", 1), ("mlp", "ffns", 2)):
            if self.config.parallel > 1:
                places = [f"blocks.{i}.{group}.{j}" for j in range(self.config.parallel)]
                names = [(f"{p}.norm", f"{p}.{kind}", f"{p}.ls.gamma") for p in places]
            else:
                block = f"blocks.{i}"
                names = [(f"{block}.norm{number}", f"{block}.{kind}", f"{block}.ls{number}.gamma")]
            entering = x
            for norm, module, scale in names:
                position = self.config.norm_position
                branch = self.norm(entering, norm) if position == "pre" else entering
                if kind == "attn":
                    branch = self.attention(branch, module, i)
                else:
                    branch = self.mlp(branch, module)
                if scale in self.weights:
                    branch = branch * self.weights[scale]
                x = x + (self.norm(branch, norm) if position == "res-post" else branch)
                x = self.norm(x, norm) if position == "post" else x
        return x

    def pooled(self, x: np.ndarray) -> list[np.ndarray]:
        config = self.config
        if config.pool == "token":
            return [x[:, i] for i in range(1 + config.distilled)]
        taken = x if config.pool_prefix else x[:, config.num_prefix_tokens :]
        if config.pool == "map":
            return [self.attention_pool(taken)]
        mean, maximum = taken.mean(axis=1), taken.max(axis=1)
        return [
            {
                "avg": mean,
                "max": maximum,
                "avgmax": (mean + maximum) / 2,
                "token-avg": np.concatenate([x[:, 0], mean], axis=-1),
            }[config.pool]
        ]

    def attention_pool(self, x: np.ndarray) -> np.ndarray:
        count = self.config.pool_heads or self.config.num_heads
        q = self.heads(self.linear(self.weights["attn_pool.latent"], "attn_pool.q"), count)
        parts = np.split(self.linear(x, "attn_pool.kv"), 2, axis=-1)
        k, v = (self.heads(part, count) for part in parts)
        weights = softmax(q @ k.swapaxes(2, 3) / q.shape[-1] ** 0.5)
        y = self.linear(self.attend(weights, v), "attn_pool.proj")
        return (y + self.plain_mlp(self.norm(y, "attn_pool.norm"), "attn_pool.mlp"))[:, 0]

    def __call__(self, images: np.ndarray) -> np.ndarray:
        config, x = self.config, self.tokens(images.astype(np.float64))
        for i in range(config.depth):
            x = self.block(x, i)
        if config.final_norm:
            x = self.norm(x, "norm")
        pooled = self.pooled(x)
        if config.fc_norm:
            pooled = [self.norm(p, "fc_norm") for p in pooled]
        if config.projection:
            pooled = [self.linear(p, "projection") for p in pooled]
        if config.unit_features:
            pooled = [p / np.sqrt((p**2).sum(axis=-1, keepdims=True)) for p in pooled]
        if config.num_classes:
            names = ("head", "head_dist")[: len(pooled)]
            pooled = [self.linear(p, head) for head, p in zip(names, pooled, strict=True)]
        return np.mean(pooled, axis=0)


class _CaiT(_Model):
    config: CaiTConfig

    def scaled(self, x: np.ndarray, branch: np.ndarray, scale: str) -> np.ndarray:
        return x + self.weights[scale] * branch

    def talking(self, x: np.ndarray, attn: str) -> np.ndarray:
        count = self.config.num_heads
        parts = np.split(self.linear(x, f"{attn}.qkv"), 3, axis=-1)
        q, k, v = (self.heads(part, count) for part in parts)
        scores = q @ k.swapaxes(2, 3) / self.config.head_dim**0.5

        def mixed(y: np.ndarray, layer: str) -> np.ndarray:
            last = self.linear(y.transpose(0, 2, 3, 1), layer)
            return last.transpose(0, 3, 1, 2)

        weights = mixed(softmax(mixed(scores, f"{attn}.proj_l")), f"{attn}.proj_w")
        return self.linear(self.attend(weights, v), f"{attn}.proj")

    def class_attention(self, x: np.ndarray, attn: str) -> np.ndarray:
        count = self.config.num_heads
        q, k, v = (
            self.heads(self.linear(y, f"{attn}.{part}"), count)
            for y, part in ((x[:, :1], "q"), (x, "k"), (x, "v"))
        )
        weights = softmax(q @ k.swapaxes(2, 3) / self.config.head_dim**0.5)
        return self.linear(self.attend(weights, v), f"{attn}.proj")

    def __call__(self, images: np.ndarray) -> np.ndarray:
        config = self.config
        x = self.patches(images.astype(np.float64)) + self.weights["pos_embed"]
        for block in (f"blocks.{i}" for i in range(config.depth)):
            branch = self.talking(self.norm(x, f"{block}.norm1"), f"{block}.attn")
            x = self.scaled(x, branch, f"{block}.gamma_1")
            branch = self.plain_mlp(self.norm(x, f"{block}.norm2"), f"{block}.mlp")
            x = self.scaled(x, branch, f"{block}.gamma_2")
        cls = self.repeated("cls_token", len(x))
        for block in (f"blocks_token_only.{i}" for i in range(config.depth_token_only)):
            both = self.norm(np.concatenate([cls, x], axis=1), f"{block}.norm1")
            cls = self.scaled(cls, self.class_attention(both, f"{block}.attn"), f"{block}.gamma_1")
            branch = self.plain_mlp(self.norm(cls, f"{block}.norm2"), f"{block}.mlp")
            cls = self.scaled(cls, branch, f"{block}.gamma_2")
        features = self.norm(cls, "norm")[:, 0]
        return self.linear(features, "head") if config.num_classes else features


def logits(config: ViTConfig | CaiTConfig, weights: Weights, images: np.ndarray) -> np.ndarray:
    """What a model gives for normalised images (n, height, width, channels): (n, classes), or (n,
    dim) where it has no head."""
    model = _CaiT if isinstance(config, CaiTConfig) else _ViT
    return model(config, weights)(images)
