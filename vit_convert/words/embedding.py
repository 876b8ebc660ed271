"""The forward pass of a text tower, in NumPy: neither TensorFlow nor PyTorch is needed."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from vit_convert.architectures.base import Gelu
from vit_convert.architectures.text.masking import earlier_only_mask
from vit_convert.progress import Progress, silent
from vit_convert.words.tower import TextTower

_BATCH = 32  # texts at a time: of a ViT-B's tower, whole texts take some 30 MB then


def _erf_gelu(x: np.ndarray) -> np.ndarray:
    from vit_convert.exporters.tflite.runtime.erf import erf  # with which all exporters come

    return np.asarray(0.5 * x * (1 + erf(x * np.float32(math.sqrt(0.5)))))


_GELUS: dict[Gelu, Callable[[np.ndarray], np.ndarray]] = {
    "erf": _erf_gelu,
    "tanh": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "quick": lambda x: x * _sigmoid(1.702 * x),
    "relu": lambda x: np.maximum(x, 0),
    "silu": lambda x: x * _sigmoid(x),
}


class TextEncoder:
    """A text tower with its weights in memory, in float32.

    Args:
        tower: the tower.
    """

    def __init__(self, tower: TextTower) -> None:
        self.config = tower.config
        self._table = tower.weights["token_embed.weight"]
        self._weights = {
            name: np.asarray(tensor.read(), np.float32)
            for name, tensor in tower.weights.items()
            if name != "token_embed.weight"  # of which few rows are read
        }

    def embed(self, ids: np.ndarray, progress: Progress = silent) -> np.ndarray:
        """Embeddings, as the tower gives them: not normalised.

        Args:
            ids: tokens of texts, (texts, context) whole numbers.
            progress: told how many texts are done.

        Returns:
            (texts, out_dim) float32.
        """
        used, places = np.unique(ids, return_inverse=True)
        rows = np.asarray(self._table.read()[used], np.float32)
        places = places.reshape(ids.shape)
        read = self._read_token(ids)
        # of texts of about one length, because a causal tower needs no more tokens than are read
        order = np.argsort(read, kind="stable")
        embeddings = np.empty((len(ids), self.config.embedding_dim), np.float32)
        for start in range(0, len(ids), _BATCH):
            batch = order[start : start + _BATCH]
            count = int(read[batch].max()) + 1 if self.config.causal else ids.shape[1]
            embeddings[batch] = self._forward(rows[places[batch, :count]], read[batch])
            progress("embedding texts", min(start + _BATCH, len(ids)), len(ids))
        return embeddings

    def _read_token(self, ids: np.ndarray) -> np.ndarray:
        """The position of the token that each embedding is made of, (texts,)."""
        if self.config.pool == "last":
            return np.full(len(ids), ids.shape[1] - 1)
        if self.config.pool == "highest":
            return ids.argmax(axis=1)
        return (ids == self.config.end_token).argmax(axis=1)

    def _forward(self, x: np.ndarray, read: np.ndarray) -> np.ndarray:
        """Token embeddings (texts, tokens, dim), positions that are read (texts,) -> (texts,
        out_dim)."""
        config, w = self.config, self._weights
        tokens = x.shape[1]
        x = x + w["pos_embed"][:, :tokens]
        mask = earlier_only_mask(tokens) if config.causal else None
        for block in (f"blocks.{i}" for i in range(config.depth)):
            x = x + self._attention(self._norm(x, f"{block}.norm1"), f"{block}.attn", mask)
            wide = self._linear(self._norm(x, f"{block}.norm2"), f"{block}.mlp.fc1")
            x = x + self._linear(_GELUS[config.gelu](wide), f"{block}.mlp.fc2")
        pooled = self._norm(x[np.arange(len(x)), read], "norm")
        return self._linear(pooled, "head") if config.out_dim else pooled

    def _attention(self, x: np.ndarray, name: str, mask: np.ndarray | None) -> np.ndarray:
        """Tokens (texts, tokens, dim) -> the same."""
        texts, tokens, dim = x.shape
        heads, head_dim = self.config.num_heads, self.config.head_dim
        qkv = self._linear(x, f"{name}.qkv").reshape(texts, tokens, 3, heads, head_dim)
        q, k, v = qkv.transpose(2, 0, 3, 1, 4)  # each (texts, heads, tokens, head_dim)
        scores = q @ k.swapaxes(-1, -2) * np.float32(head_dim**-0.5)
        if mask is not None:
            scores += mask
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        return self._linear((scores @ v).swapaxes(1, 2).reshape(texts, tokens, dim), f"{name}.proj")

    def _linear(self, x: np.ndarray, name: str) -> np.ndarray:
        """(..., inputs) -> (..., outputs)."""
        weight = self._weights[f"{name}.weight"]
        # one product: with axes in front NumPy makes one for each text, which takes twice as long
        result = (x.reshape(-1, x.shape[-1]) @ weight.T).reshape(*x.shape[:-1], len(weight))
        bias = self._weights.get(f"{name}.bias")
        return result if bias is None else result + bias

    def _norm(self, x: np.ndarray, name: str) -> np.ndarray:
        """LayerNorm over the channels of (..., dim)."""
        x = x - x.mean(axis=-1, keepdims=True)
        deviation = np.sqrt((x * x).mean(axis=-1, keepdims=True) + np.float32(self.config.norm_eps))
        return x / deviation * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]


def _sigmoid(x: np.ndarray) -> np.ndarray:
    """By a tanh, which never overflows."""
    return 0.5 * (1 + np.tanh(0.5 * x))
