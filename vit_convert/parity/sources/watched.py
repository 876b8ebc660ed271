"""Running a PyTorch model, and watching its blocks."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from vit_convert.checkpoint.tensor import LazyTensor

if TYPE_CHECKING:
    import torch

_BATCH = 16


class WatchedModel:
    """A model and its blocks; see `vit_convert.parity.sources.SourceModel`.

    Args:
        model: in any mode; it is put into evaluation mode.
        forward: images (n, channels, height, width) -> logits or features.
        blocks: name of a block, as artifacts have it -> its module, in the order of computation.
        description: for people.
        prepare: images (n, height, width, channels) as NumPy has them -> what `forward` takes.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        forward: Callable[[torch.Tensor], torch.Tensor],
        blocks: Mapping[str, torch.nn.Module],
        description: str,
        prepare: Callable[[np.ndarray], torch.Tensor] | None = None,
    ) -> None:
        self.model = model.eval().float()
        self._forward = forward
        self._blocks = dict(blocks)
        self.description = description
        self._prepare = prepare or _channels_first

    def run(self, images: np.ndarray) -> np.ndarray:
        """See SourceModel."""
        import torch

        with torch.inference_mode():
            parts = [self._forward(part) for part in self._prepare(images).split(_BATCH)]
            return torch.cat(parts).numpy()

    def blocks(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """See SourceModel."""
        import torch

        found: dict[str, np.ndarray] = {}

        def keep_input(module: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
            tokens = arguments[0] if arguments else next(iter(named.values()))
            found["embeddings"] = tokens.numpy().copy()

        def keeper(name: str) -> Callable[..., None]:
            def keep(module: Any, arguments: Any, output: Any) -> None:
                tokens = output[0] if isinstance(output, tuple) else output
                found[name] = tokens.numpy().copy()

            return keep

        first = next(iter(self._blocks.values()))
        handles = [first.register_forward_pre_hook(keep_input, with_kwargs=True)]
        for name, block in self._blocks.items():
            handles.append(block.register_forward_hook(keeper(name)))
        try:
            with torch.inference_mode():
                self._forward(self._prepare(images))
        finally:
            for handle in handles:
                handle.remove()
        return found


def as_torch(
    tensors: dict[str, LazyTensor], without: Container[str] = ()
) -> dict[str, torch.Tensor]:
    """Lazy tensors, read, in float32; those called otherwise than `without`."""
    import torch

    return {
        name: torch.from_numpy(np.array(tensor.read(), np.float32))
        for name, tensor in tensors.items()
        if name not in without
    }


def _channels_first(images: np.ndarray) -> torch.Tensor:
    import torch

    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32))
