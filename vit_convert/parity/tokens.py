"""The tokens of patches that a source gives: its own blocks, and behind them the last norm."""

from __future__ import annotations

import numpy as np

from vit_convert.checkpoint.tensor import Tensors
from vit_convert.errors import UsageError
from vit_convert.exporters import Artifact
from vit_convert.parity.sources import SourceModel


class TokensOf:
    """A source whose output is the tokens of its patches; see
    `vit_convert.parity.sources.SourceModel`.

    The blocks are the source's. PyTorch applies the last norm, with the source's weights, because
    libraries give tokens with and without it (transformers' CLIP without, timm always with).

    Args:
        model: the source.
        artifact: it tells after which block tokens are wanted, and where those of patches begin.
        tensors: the source's, under canonical names.
    """

    def __init__(self, model: SourceModel, artifact: Artifact, tensors: Tensors) -> None:
        self._model = model
        self._shape = artifact.output.shape
        self._block = f"blocks.{artifact.output.after_block}"
        self._config = artifact.spec.config
        own = {parameter.name for parameter in artifact.spec.parameters()}
        self._norm = {
            leaf: np.array(tensors[f"norm.{leaf}"].read(), np.float32)
            for leaf in ("weight", "bias")
            if f"norm.{leaf}" in own and f"norm.{leaf}" in tensors
        }

    @property
    def description(self) -> str:
        """See SourceModel."""
        return self._model.description

    def blocks(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """See SourceModel."""
        return self._model.blocks(images)

    def run(self, images: np.ndarray) -> np.ndarray:
        """Normalised images (n, height, width, channels) -> tokens (n, rows, columns, dim).

        Raises:
            UsageError: the blocks were not found in the source.
        """
        import torch
        from torch.nn import functional

        found = self._model.blocks(images).get(self._block)
        if found is None:
            raise UsageError(
                f"{self._block} was not found in the model that runs the source",
                expected="a model whose blocks can be told from each other",
                hint="verify without --model",
            )
        rows, columns, dim = self._shape
        tokens = torch.from_numpy(found[:, found.shape[1] - rows * columns :])
        if self._norm:
            weights = {leaf: torch.from_numpy(array) for leaf, array in self._norm.items()}
            epsilon = self._config.norm_eps
            if "bias" in weights:
                tokens = functional.layer_norm(tokens, (dim,), **weights, eps=epsilon)
            else:
                tokens = functional.rms_norm(tokens, (dim,), **weights, eps=epsilon)
        return tokens.reshape(len(images), rows, columns, dim).numpy()
