"""The source checkpoint in PyTorch, in the model that its architecture names: timm's own classes.

Of the package's arithmetic nothing is used here, resampling included: what both sides shared could
not be compared. PyTorch and timm are imported when they are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from vit_convert.architectures import ModelSpec, architecture, resolve
from vit_convert.checkpoint.tensor import Tensors
from vit_convert.errors import MissingDependencyError, UsageError
from vit_convert.parity.sources.strict_loading import load_strictly
from vit_convert.parity.sources.timm_models import own_state

if TYPE_CHECKING:
    import torch

_BATCH = 16


class TorchReference:
    """A checkpoint's weights in its architecture's source model, in float32 and evaluation mode.

    Args:
        spec: of the converted model: it tells what tensors cannot (heads, GELU, epsilon, pooling)
            and which image size is wanted.
        tensors: canonical name -> the source's own tensor in PyTorch's layout.
        features: give the pooled features instead of logits.

    Raises:
        MissingDependencyError: PyTorch or timm is not installed.
        UsageError: the converted model has a fresh head, so the source has no logits for it; or
            the tensors are not those of the spec's model.
    """

    def __init__(self, spec: ModelSpec, tensors: Tensors, features: bool = False) -> None:
        timm, torch = import_library("timm"), import_library("torch")
        features = features or spec.config.num_classes == 0
        if not features and "head.weight" in spec.source.changed:
            raise UsageError(
                "the head was replaced (--num-classes), so the source has no logits to compare",
                expected="a model with the source's own head, or one that gives features",
                hint="export --output features, and verify that",
            )
        state = {
            name: torch.from_numpy(np.array(tensor.read(), np.float32))
            for name, tensor in tensors.items()
            if not (features and name.startswith(("head.", "head_dist.")))
        }
        self.description = f"timm {timm.__version__} on PyTorch {torch.__version__}, float32"
        if _resample(state, spec):
            self.description += f", position embedding resampled by PyTorch ({spec.pos_embed})"
        model = canonical_model(spec, 0 if features else spec.config.num_classes)
        load_strictly(model, own_state(model, state))
        self.model = model.eval()
        self._block_names = spec.block_names()

    def run(self, images: np.ndarray) -> np.ndarray:
        """Normalised images (n, height, width, channels) float32 -> logits (n, classes), or
        features (n, dim)."""
        import torch

        with torch.inference_mode():
            batches = [self.model(batch) for batch in _channels_first(images).split(_BATCH)]
            return torch.cat(batches).numpy()

    def blocks(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """The same images -> what each block gives; see `block_outputs`."""
        return block_outputs(self.model, self._block_names, images)


def canonical_model(spec: ModelSpec, num_classes: int) -> torch.nn.Module:
    """The source's model, with fresh weights; see `Architecture.source_model`.

    Args:
        spec: what it is.
        num_classes: 0 for features.

    Raises:
        RecognitionError: the architecture is not known here, or has no such model.
        UsageError: the source's library has no such model.
    """
    make = resolve(architecture(spec.architecture).source_model)
    model: torch.nn.Module = make(spec, num_classes)
    return model


def block_outputs(
    model: torch.nn.Module, names: Sequence[str], images: np.ndarray
) -> dict[str, np.ndarray]:
    """The residual stream of a model whose modules have canonical names.

    Args:
        model: in evaluation mode.
        names: as `Architecture.block_names` gives them: "embeddings", then the blocks.
        images: (n, height, width, channels) float32, normalised.

    Returns:
        name -> (n, tokens, dim) float32: the input of the first block, and every block's output.
    """
    import torch

    embeddings, *blocks = names
    found: dict[str, np.ndarray] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(module: torch.nn.Module, inputs: Any, output: torch.Tensor) -> None:
            found[name] = output.numpy().copy()

        return hook

    def keep_input(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        found[embeddings] = inputs[0].numpy().copy()

    @contextmanager
    def hooked() -> Iterator[None]:
        handles = [model.get_submodule(blocks[0]).register_forward_pre_hook(keep_input)]
        for name in blocks:
            handles.append(model.get_submodule(name).register_forward_hook(keep(name)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    with hooked(), torch.inference_mode():
        model(_channels_first(images))
    return found


def import_library(name: str) -> ModuleType:
    """A library that runs source checkpoints.

    Raises:
        MissingDependencyError: it is not installed.
    """
    from vit_convert.parity.sources.torch_compat import import_vision

    try:
        return import_vision(name)
    except ImportError as error:
        raise MissingDependencyError(
            f"{name} is needed to run the source checkpoint, and cannot be imported: {error}",
            expected="PyTorch and timm",
            hint='pip install "vit-convert[torch]", or --reference with recorded logits',
        ) from error


def _channels_first(images: np.ndarray) -> torch.Tensor:
    import torch

    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32))


def _resample(state: dict[str, torch.Tensor], spec: ModelSpec) -> bool:
    """Fit the position embedding of `state` to the spec's grid, by PyTorch; whether it was needed.

    A position embedding that was fitted is that of a square grid, unless it has the right size.
    """
    stored = state.get("pos_embed")
    if stored is None or stored.ndim != 3:
        return False  # loading it says what is wrong
    grid: tuple[int, int] = spec.config.grid
    prefix: int = spec.config.num_positioned_prefix_tokens
    patches = stored.shape[1] - prefix
    if patches == grid[0] * grid[1] and "pos_embed" not in spec.source.changed:
        return False
    side = round(max(patches, 0) ** 0.5)
    if side < 1 or side * side != patches:
        raise UsageError(
            f"the checkpoint's position embedding has {patches} patches, no square number, and "
            f"the artifact has {grid[0]} x {grid[1]}",
            where="pos_embed",
            expected="the checkpoint that the artifact was made from",
        )
    if spec.pos_embed == "antialias":
        from timm.layers import resample_abs_pos_embed

        state["pos_embed"] = resample_abs_pos_embed(
            stored, list(grid), [side, side], num_prefix_tokens=prefix
        )
        return True
    import torch

    picture = stored[:, prefix:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    picture = torch.nn.functional.interpolate(
        picture, size=grid, mode=spec.pos_embed, align_corners=False
    )
    resampled = picture.permute(0, 2, 3, 1).flatten(1, 2)
    state["pos_embed"] = torch.cat([stored[:, :prefix], resampled], dim=1)
    return True
