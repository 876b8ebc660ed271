"""Small randomised models for depth, of transformers and by their authors' names, for `schemes`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from families import randomise
from safetensors.torch import load_file
from transformers_sources import HF, Save, Saved, transformers

# maps of other widths than anything else, one enlarged, one as it is
NECK: dict[str, Any] = {
    "neck_hidden_sizes": [4, 7],
    "reassemble_factors": [2, 0.5],
    "fusion_hidden_size": 6,
}


def positive(model: torch.nn.Module) -> torch.nn.Module:
    """A randomised model whose depth is cut off at zero here and there only, and whose variances
    are none below it."""
    randomise(model)
    state = model.state_dict()
    for name, value in state.items():
        if name.endswith("running_var"):
            value.abs_().add_(0.5)
    if getattr(model.config, "depth_estimation_type", "relative") == "relative":
        last = "head.conv3" if "head.conv3.bias" in state else "head.head.4"
        state[f"{last}.weight"].abs_()  # of what a ReLU gives
        state[f"{last}.bias"].fill_(-0.1)
    return model.eval()


def dinov2(**changes: Any) -> Any:
    """The configuration of a backbone."""
    sizes = {k: v for k, v in HF.items() if k != "intermediate_size"}
    options = {"out_indices": [1, 2], "reshape_hidden_states": False, "mlp_ratio": 2}
    return transformers.Dinov2Config(**sizes | options | changes)


def depth_anything(backbone: Any = None, **changes: Any) -> Any:
    """DepthAnythingForDepthEstimation, randomised."""
    backbone = backbone or dinov2()
    options = {
        "backbone_config": backbone,
        "patch_size": backbone.patch_size,
        "reassemble_hidden_size": backbone.hidden_size,
        "head_hidden_size": 5,
    }
    config = transformers.DepthAnythingConfig(**options | NECK | changes)
    return positive(transformers.DepthAnythingForDepthEstimation(config))


def dpt(**changes: Any) -> Any:
    """DPTForDepthEstimation on its own ViT, or on the `backbone_config` given, randomised."""
    own = HF | {"backbone_out_indices": [0, 1]}
    base = {} if "backbone_config" in changes else own
    config = transformers.DPTConfig(**base | NECK | changes)
    return positive(transformers.DPTForDepthEstimation(config))


def _saved(make: Callable[[], Any], memory: bool = False) -> Save:
    def save(folder: Path) -> Saved:
        model = make()
        if memory:
            path = folder / "pytorch_model.bin"
            torch.save({k: v.clone() for k, v in model.state_dict().items()}, path)
            model.config.save_pretrained(folder)
            return path, lambda x: model(x).predicted_depth
        model.save_pretrained(folder)
        return folder, lambda x: model(x).predicted_depth

    return save


_FOUR = {
    "neck_hidden_sizes": [4, 7, 8, 9],
    "reassemble_factors": [4, 2, 1, 0.5],
}
_NAMES = {  # transformers' -> the authors', in order
    r"^backbone\.encoder\.layer\.": "pretrained.blocks.",
    r"^backbone\.embeddings\.position_embeddings": "pretrained.pos_embed",
    r"^backbone\.embeddings\.patch_embeddings\.projection": "pretrained.patch_embed.proj",
    r"^backbone\.embeddings\.": "pretrained.",
    r"^backbone\.layernorm": "pretrained.norm",
    r"attention\.o_proj": "attn.proj",
    r"layer_scale(.)\.lambda1": r"ls\1.gamma",
    r"^neck\.reassemble_stage\.layers\.(\d)\.projection": r"depth_head.projects.\1",
    r"^neck\.reassemble_stage\.layers\.(\d)\.resize": r"depth_head.resize_layers.\1",
    r"^head\.conv1": "depth_head.scratch.output_conv1",
    r"^head\.conv2": "depth_head.scratch.output_conv2.0",
    r"^head\.conv3": "depth_head.scratch.output_conv2.2",
    r"residual_layer(\d)\.convolution(\d)": r"resConfUnit\1.conv\2",
    r"(layers\.\d)\.projection": r"\1.out_conv",
}


def own_names(model: Any) -> dict[str, torch.Tensor]:
    """The state of a DepthAnythingForDepthEstimation as Depth Anything's own code has it."""
    state: dict[str, torch.Tensor] = {}
    parts: dict[str, list[torch.Tensor]] = {}
    for name, value in model.state_dict().items():
        for pattern, text in _NAMES.items():
            name = re.sub(pattern, text, name)
        if found := re.match(r"neck\.fusion_stage\.layers\.(\d)\.(.*)", name):
            name = f"depth_head.scratch.refinenet{4 - int(found[1])}.{found[2]}"
        elif found := re.match(r"neck\.convs\.(\d)\.(.*)", name):
            name = f"depth_head.scratch.layer{int(found[1]) + 1}_rn.{found[2]}"
        if found := re.match(r"(.*)\.attention\.[qkv]_proj\.(.*)", name):
            parts.setdefault(f"{found[1]}.attn.qkv.{found[2]}", []).append(value)
            continue
        state[name] = value.clone()
    # q, k and v stand in some order in memory; each has its own name
    for name in parts:
        block, leaf = name.removeprefix("pretrained.blocks.").split(".attn.qkv.")
        layer = f"backbone.encoder.layer.{block}.attention"
        source = model.state_dict()
        state[name] = torch.cat([source[f"{layer}.{part}_proj.{leaf}"] for part in "qkv"])
    return state


def own_names_scheme(folder: Path) -> Saved:
    """Depth Anything V2 as its authors save it."""
    backbone = dinov2(num_hidden_layers=4, out_indices=[1, 2, 3, 4])
    model = depth_anything(backbone, **_FOUR)
    torch.save(own_names(model), folder / "depth_anything_v2_tiny.pth")
    return folder / "depth_anything_v2_tiny.pth", lambda x: model(x).predicted_depth


DEPTH_SOURCES: tuple[tuple[str, str, Save, int], ...] = (
    ("DPT", "transformers-dpt", _saved(dpt), 6),
    (
        "DPT with batch norms",
        "transformers-dpt",
        _saved(lambda: dpt(use_batch_norm_in_fusion_residual=True, readout_type="add")),
        20,
    ),
    (
        "DPT on DINOv2",
        "transformers-dpt-dinov2",
        _saved(lambda: dpt(backbone_config=dinov2(), readout_type="ignore")),
        5,
    ),
    (
        "DPT on DINOv2, in memory",
        "transformers-dpt-dinov2-5",
        _saved(lambda: dpt(backbone_config=dinov2()), memory=True),
        5,
    ),
    ("Depth Anything", "transformers-depth-anything", _saved(depth_anything), 5),
    (
        "Depth Anything, metric, in memory",
        "transformers-depth-anything-5",
        _saved(lambda: depth_anything(depth_estimation_type="metric", max_depth=20), memory=True),
        5,
    ),
)


class _Classifier(torch.nn.Module):
    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.classifier = torch.nn.Conv2d(dim, classes, 1)


class Segmentation(torch.nn.Module):
    """The model of the notebook (see `vit_convert.dialects.linear_segmentation`): images (n, 3,
    height, width) -> scores (n, height, width, classes)."""

    def __init__(self, config: Any, classes: int = 5) -> None:
        super().__init__()
        self.config = config
        self.registers = getattr(config, "num_register_tokens", 0)
        kind = "Dinov2WithRegistersModel" if self.registers else "Dinov2Model"
        self.dinov2 = getattr(transformers, kind)(config)
        self.classifier = _Classifier(config.hidden_size, classes)
        self.norm = torch.nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        side = self.config.patch_size
        rows, columns = x.shape[2] // side, x.shape[3] // side
        patches = self.dinov2(x).last_hidden_state[:, 1 + self.registers :].transpose(1, 2)
        scores = self.classifier.classifier(self.norm(patches.unflatten(2, (rows, columns))))
        size = x.shape[2:]
        return torch.nn.functional.interpolate(scores, size=size, mode="bilinear").permute(
            0, 2, 3, 1
        )


def _segmentation(memory: bool) -> Save:
    def save(folder: Path) -> Saved:
        model = randomise(Segmentation(dinov2()))
        state = {k: v.clone() for k, v in model.state_dict().items()}
        if not memory:  # the names of files, as transformers 5 writes them
            model.dinov2.save_pretrained(folder)
            state = {f"dinov2.{k}": v for k, v in load_file(folder / "model.safetensors").items()}
            head = model.classifier.state_dict()
            state |= {f"classifier.{k}": v.clone() for k, v in head.items()}
            (folder / "model.safetensors").unlink()
        torch.save(state, folder / "pytorch_model.bin")
        model.config.save_pretrained(folder)
        return folder / "pytorch_model.bin", model

    return save


def own_segmentation(folder: Path, registers: int = 0) -> Saved:
    """DINOv2 with its own linear head, as mmsegmentation saves the two together."""
    backbone = dinov2()
    if registers:
        values = {**backbone.to_dict(), "num_register_tokens": registers}
        values.pop("model_type")
        backbone = transformers.Dinov2WithRegistersConfig(**values)
    model = Segmentation(backbone)
    model.norm = torch.nn.BatchNorm2d(backbone.hidden_size)
    randomise(model)
    model.norm.running_var.abs_().add_(0.5)
    whole = depth_anything(dinov2())
    tokens = {}
    if registers:
        tokens["pretrained.register_tokens"] = model.dinov2.embeddings.register_tokens.data
    whole.backbone.load_state_dict(
        {k: v for k, v in model.dinov2.state_dict().items() if not k.endswith("register_tokens")}
    )
    state = {
        name.replace("pretrained.", "backbone."): value
        for name, value in (own_names(whole) | tokens).items()
        if name.startswith("pretrained.")
    }
    state |= {f"decode_head.bn.{k}": v.clone() for k, v in model.norm.state_dict().items()}
    head = model.classifier.classifier.state_dict()
    state |= {f"decode_head.conv_seg.{k}": v.clone() for k, v in head.items()}
    torch.save({"meta": {}, "state_dict": state}, folder / "model.pth")
    return folder / "model.pth", model


SEGMENTATION_SOURCES: tuple[tuple[str, str, Save, int], ...] = (
    ("DINOv2 with a linear head", "transformers-dinov2-segmentation", _segmentation(False), 1),
    (
        "DINOv2 with a linear head, in memory",
        "transformers-dinov2-segmentation-5",
        _segmentation(True),
        1,
    ),
)
