"""Hugging Face transformers' own models, configured by the config.json beside the checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from vit_convert.architectures import ModelSpec
from vit_convert.checkpoint import Checkpoint
from vit_convert.dialects import Ledger
from vit_convert.errors import UsageError
from vit_convert.parity.sources.timm_source import import_library
from vit_convert.parity.sources.watched import WatchedModel, as_torch

if TYPE_CHECKING:
    import torch

_ACTIVATIONS = {"erf": "gelu", "tanh": "gelu_pytorch_tanh", "quick": "quick_gelu", "relu": "relu"}
# dialect, without its version -> configuration, model with a head, model without
_CLASSES = {
    "vit": ("ViTConfig", "ViTForImageClassification", "ViTModel"),
    "deit": ("DeiTConfig", "DeiTForImageClassificationWithTeacher", "DeiTModel"),
    "beit": ("BeitConfig", "BeitForImageClassification", "BeitModel"),
    "dinov2": ("Dinov2Config", "Dinov2ForImageClassification", "Dinov2Model"),
    "dinov2-registers": (
        "Dinov2WithRegistersConfig",
        "Dinov2WithRegistersForImageClassification",
        "Dinov2WithRegistersModel",
    ),
    "dinov3": ("DINOv3ViTConfig", "DINOv3ViTModel", "DINOv3ViTModel"),
    "dinov3-gated": ("DINOv3ViTConfig", "DINOv3ViTModel", "DINOv3ViTModel"),
    "clip": ("CLIPVisionConfig", "CLIPVisionModelWithProjection", "CLIPVisionModel"),
    "siglip": ("SiglipVisionConfig", "SiglipVisionModel", "SiglipVisionModel"),
}


def build(spec: ModelSpec, checkpoint: Checkpoint, ledger: Ledger, features: bool) -> WatchedModel:
    """See `vit_convert.parity.sources.source_model`."""
    import_library("torchvision")  # before transformers, which imports it its own way
    transformers = import_library("transformers")
    import torch

    kind = ledger.dialect.name.removeprefix("transformers-").removesuffix("-5")
    config_name, with_head, without = _CLASSES[kind]
    config = _config(getattr(transformers, config_name), spec, checkpoint, ledger)
    has_head = "head.weight" in ledger.tensors
    model_class = getattr(transformers, with_head if has_head else without)
    state = {
        name.removeprefix(ledger.prefix): tensor
        for name, tensor in as_torch(checkpoint.tensors).items()
        if name not in ledger.ignored
    }
    model = _loaded(model_class, config, state)

    def forward(images: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = _output(kind, model, images, features, has_head)
        return result

    versions = f"transformers {transformers.__version__} on PyTorch {torch.__version__}, float32"
    blocks = dict(zip(spec.block_names()[1:], _layers(model), strict=True))
    return WatchedModel(model, forward, blocks, versions)


def _config(config_class: Any, spec: ModelSpec, checkpoint: Checkpoint, ledger: Ledger) -> Any:
    """From the file beside the checkpoint, read by transformers; or from the spec."""
    folder = checkpoint.path.parent
    config = spec.config
    if (folder / "config.json").is_file():
        found = config_class.from_pretrained(folder)
        if config.num_classes and hasattr(found, "num_labels"):
            found.num_labels = config.num_classes
        return found
    rows, columns = config.image_size
    values = {
        "hidden_size": config.embed_dim,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.num_heads,
        "intermediate_size": config.mlp_dim,
        "image_size": rows if rows == columns else (rows, columns),
        "patch_size": config.patch_size[0],
        "num_channels": config.in_channels,
        "hidden_act": _ACTIVATIONS[config.gelu],
        "layer_norm_eps": config.norm_eps,
        "num_labels": config.num_classes or 2,
    }
    has = ledger.tensors
    if "dinov2" in ledger.dialect.name:
        # hidden width: mlp_ratio times the width, two thirds of that for SwiGLU
        swiglu = config.mlp == "swiglu-packed"
        values["use_swiglu_ffn"] = swiglu
        values["mlp_ratio"] = (config.mlp_dim * (1.5 if swiglu else 1) + 0.5) / config.embed_dim
        values["num_register_tokens"] = config.reg_tokens
    elif "dinov3" in ledger.dialect.name:
        gated, biased = config.mlp != "plain", "blocks.0.attn.qkv.bias" in has
        values |= {"use_gated_mlp": gated, "query_bias": biased, "value_bias": biased}
        values |= {"rope_theta": config.rotary_base, "num_register_tokens": config.reg_tokens}
        if gated:
            values["hidden_act"] = "silu"
    elif "beit" in ledger.dialect.name:
        values |= {
            "use_absolute_position_embeddings": config.position == "all",
            "use_relative_position_bias": config.rel_pos == "blocks",
            "use_shared_relative_position_bias": config.rel_pos == "shared",
            "use_mean_pooling": config.pool == "avg",
            "layer_scale_init_value": 0.1 if "blocks.0.ls1.gamma" in has else 0.0,
        }
    elif "clip" in ledger.dialect.name:
        values["projection_dim"] = config.num_classes
    elif "siglip" not in ledger.dialect.name:
        values["qkv_bias"] = "blocks.0.attn.qkv.bias" in has
    return config_class(**values)


def _loaded(model_class: Any, config: Any, state: dict[str, torch.Tensor]) -> Any:
    """The model with the state, whose names are those of a file or of the model in memory."""
    with _quiet():
        model, info = model_class.from_pretrained(
            None, config=config, state_dict=state, output_loading_info=True
        )
    wrong = {
        what: [name for name in info[what] if ".pooler.dense." not in f".{name}"]
        for what in ("missing_keys", "unexpected_keys", "mismatched_keys")
    }
    wrong["missing_keys"] = [n for n in wrong["missing_keys"] if not n.endswith("mask_token")]
    if any(wrong.values()):
        raise UsageError(
            f"transformers' {model_class.__name__} does not have the checkpoint's tensors: {wrong}",
            expected="the checkpoint that the artifact was made from",
        )
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' report of what it loads, which is checked here."""
    logging = import_library("transformers.utils.logging")
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _output(kind: str, model: Any, images: torch.Tensor, features: bool, has_head: bool) -> Any:
    """Logits as the model gives them, or what its head reads."""
    import torch

    if not features:
        output = model(images)
        return output.image_embeds if kind == "clip" else output.logits
    base = model.base_model if has_head and kind != "clip" else model
    if kind == "clip" and has_head:
        base = model.vision_model
    output = base(images)
    if kind in ("clip", "siglip", "beit"):
        return output.pooler_output
    tokens = output.last_hidden_state
    if kind == "deit":
        return tokens[:, :2].mean(dim=1)
    if kind.startswith("dinov2") and has_head:
        skip = 1 + getattr(model.config, "num_register_tokens", 0)
        return torch.cat([tokens[:, 0], tokens[:, skip:].mean(dim=1)], dim=1)
    return tokens[:, 0]


def _layers(model: Any) -> list[Any]:
    """The blocks: the longest list of modules, wherever a version keeps it."""
    import torch

    lists = [m for m in model.modules() if isinstance(m, torch.nn.ModuleList)]
    longest: Any = max(lists, key=lambda modules: len(list(modules)))
    return list(longest)
