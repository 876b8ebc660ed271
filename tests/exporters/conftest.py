"""Small models of every family, with random parameters and no two dimensions equal, as timm has
them and as the .h5 that torch2keras would write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vit_convert.architectures import CaiTConfig, ModelSpec, Preprocessing, ViTConfig
from vit_convert.checkpoint.tensor import LazyTensor
from vit_convert.exporters import Artifact, ExportOptions, export, open_artifact
from vit_convert.exporters.keras_h5 import load_model, write_h5
from vit_convert.folding import fold
from vit_convert.parity.torch_compat import import_vision

PREPROCESSING = Preprocessing(mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
_SHAPES = dict(
    image_size=(24, 40), patch_size=(8, 8), embed_dim=36, depth=2, num_heads=3, mlp_dim=72
)
_CONFIGS: dict[str, ViTConfig | CaiTConfig] = {
    "vit": ViTConfig(**_SHAPES, num_classes=7),
    "average pool": ViTConfig(
        **_SHAPES, num_classes=7, class_token=False, pool="avg", final_norm=False, fc_norm=True
    ),
    "deit distilled": ViTConfig(**_SHAPES, num_classes=7, distilled=True, layer_scale=True),
    "cait": CaiTConfig(**_SHAPES, num_classes=7, mlp_dim_token_only=144),
    "headless": ViTConfig(**_SHAPES, num_classes=0),
}
FAMILIES = ("vit", "average pool", "deit distilled", "cait")


@dataclass(frozen=True)
class Sample:
    """A model: its .h5, itself in Keras, and four images with what timm makes of them."""

    h5: Path
    spec: ModelSpec
    keras: Any
    images: np.ndarray
    timm_logits: np.ndarray


def relative(reference: np.ndarray, got: np.ndarray) -> float:
    """max |difference| / max |reference|"""
    assert reference.shape == got.shape
    return float(np.abs(reference - got).max() / np.abs(reference).max())


def _timm_twin(name: str) -> Any:
    import_vision("timm")
    from timm.models.cait import Cait
    from timm.models.deit import VisionTransformerDistilled
    from timm.models.vision_transformer import VisionTransformer

    sizes = dict(img_size=(24, 40), patch_size=8, embed_dim=36, depth=2, num_heads=3, mlp_ratio=2)
    if name == "cait":
        return Cait(**sizes, num_classes=7)
    if name == "deit distilled":
        return VisionTransformerDistilled(**sizes, num_classes=7, init_values=1e-5)
    if name == "average pool":
        return VisionTransformer(**sizes, num_classes=7, class_token=False, global_pool="avg")
    return VisionTransformer(**sizes, num_classes=0 if name == "headless" else 7)


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Sample]:
    """(family, folded=False) -> Sample"""
    import torch

    @cache
    def make(name: str, folded: bool = False) -> Sample:
        generator = torch.Generator().manual_seed(len(name))
        twin = _timm_twin(name).eval()
        for parameter in twin.parameters():
            parameter.data = torch.empty_like(parameter).normal_(0.0, 0.3, generator=generator)
        images = torch.empty((4, 24, 40, 3)).normal_(generator=generator)
        with torch.no_grad():
            logits = twin(images.permute(0, 3, 1, 2)).numpy()
        weights = {key: value.numpy() for key, value in twin.state_dict().items()}
        spec = ModelSpec(
            "cait" if name == "cait" else "vit",
            _CONFIGS[name],
            preprocessing=PREPROCESSING,
            labels=tuple("abcdefg"[: _CONFIGS[name].num_classes]),
        )
        if folded:
            spec, weights = fold(spec, weights)
        path = tmp_path_factory.mktemp("h5") / f"{name.replace(' ', '_')}.h5"
        write_h5(path, spec, {key: LazyTensor.of(key, value) for key, value in weights.items()})
        return Sample(path, spec, load_model(path), images.numpy(), logits)

    return make


@pytest.fixture(scope="session")
def exported(
    sample: Callable[..., Sample], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """(target, family, folded=False, **options) -> path of the artifact, made once."""

    @cache
    def make(target: str, name: str, folded: bool = False, **options: Any) -> Path:
        folder = tmp_path_factory.mktemp(target)
        h5 = sample(name, folded).h5
        return export(h5, [target], folder, replace(ExportOptions(), **options))[0]

    return make


@pytest.fixture(scope="session")
def opened(exported: Callable[..., Path]) -> Callable[..., Artifact]:
    """As `exported`, opened."""

    @cache
    def make(*args: Any, **options: Any) -> Artifact:
        return open_artifact(exported(*args, **options))

    return make
