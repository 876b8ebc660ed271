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
from vit_convert.parity.sources.transformers_classes import classes_of, features_of, kind_of
from vit_convert.parity.sources.watched import WatchedModel, as_torch

if TYPE_CHECKING:
    import torch

ACTIVATIONS = {
    "erf": "gelu",
    "tanh": "gelu_pytorch_tanh",
    "quick": "quick_gelu",
    "relu": "relu",
    "silu": "silu",
}
_PARTS = ("vision_config", "encoder", "backbone_config")


def build(spec: ModelSpec, checkpoint: Checkpoint, ledger: Ledger, features: bool) -> WatchedModel:
    """See `vit_convert.parity.sources.source_model`."""
    import_library("torchvision")  # before transformers, which imports it its own way
    transformers = import_library("transformers")
    import torch

    kind = kind_of(ledger.dialect.name)
    stated = _stated(checkpoint)
    model_type = stated.get("model_type", ledger.body.rstrip(".").replace("_", "-"))
    classes = classes_of(ledger.dialect.name, str(model_type))
    headed = bool(classes.headed) and "head.weight" in ledger.tensors
    config = getattr(transformers, classes.config).from_dict(stated or _values(spec, ledger))
    if hasattr(config, "vision_use_head"):  # SigLIP's, and towers like it that do not say so
        config.vision_use_head = spec.config.pool == "map"
    if headed and classes.whole:
        config = getattr(transformers, classes.whole)(vision_config=config.to_dict())
    if headed:
        setattr(
            config, "projection_dim" if kind == "clip" else "num_labels", spec.config.num_classes
        )
    state = {
        name.removeprefix(ledger.prefix): tensor
        for name, tensor in as_torch(checkpoint.tensors, without=ledger.ignored).items()
    }
    projection = None if headed else state.pop("visual_projection.weight", None)
    if classes.bare:
        state = {name.removeprefix(ledger.body): tensor for name, tensor in state.items()}
    options = {}
    if kind == "beit" and not headed:
        options["add_pooling_layer"] = "fc_norm.weight" in ledger.tensors
    model_class = getattr(transformers, classes.headed if headed else classes.without)
    left_out = {name.removeprefix(ledger.prefix) for name in ledger.ignored}
    model = loaded(model_class, config, state, left_out, options)
    base = _without_head(model) if headed or kind == "beit-masked" else model

    def forward(images: torch.Tensor) -> torch.Tensor:
        inputs = inputs_of(kind, images, spec)
        if headed and not features:
            output = model(**inputs)
            result: torch.Tensor = output.image_embeds if kind == "clip" else output.logits
            return result
        output = base(**inputs)
        if kind == "beit-masked":
            output.last_hidden_state = model.layernorm(output.last_hidden_state)
        result = features_of(kind, base, output, headed)
        return result if projection is None or features else result @ projection.T

    versions = f"transformers {transformers.__version__} on PyTorch {torch.__version__}, float32"
    blocks = dict(zip(spec.block_names()[1:], layers_of(model), strict=True))
    return WatchedModel(model, forward, blocks, versions)


def read_config(checkpoint: Checkpoint) -> Any:
    """What config.json says, read by transformers: its configuration; a dict where it knows no such
    model; None without the file."""
    folder = checkpoint.path.parent
    if not (folder / "config.json").is_file():
        return None
    configuration = import_library("transformers.configuration_utils").PreTrainedConfig
    values: dict[str, Any] = configuration.get_config_dict(folder)[0]
    known = import_library("transformers").CONFIG_MAPPING
    if values.get("model_type") not in known:
        return values
    return known[values["model_type"]].from_dict(values)


def _stated(checkpoint: Checkpoint) -> dict[str, Any]:
    """What config.json says of the image tower; {} without one."""
    whole = read_config(checkpoint)
    if whole is None or isinstance(whole, dict):
        return whole or {}
    parts = [getattr(whole, name, None) for name in _PARTS]
    part = next((part for part in parts if part is not None), whole)
    return dict(part.to_dict(), model_type=part.model_type)


def _values(spec: ModelSpec, ledger: Ledger) -> dict[str, Any]:
    """What config.json would say, from the converted model."""
    config = spec.config
    rows, columns = config.image_size
    values = {
        "hidden_size": config.embed_dim,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.num_heads,
        "intermediate_size": config.mlp_dim,
        "image_size": rows if rows == columns else (rows, columns),
        "patch_size": config.patch_size[0],
        "num_channels": config.in_channels,
        "hidden_act": ACTIVATIONS[config.gelu],
        "layer_norm_eps": config.norm_eps,
        "num_labels": config.num_classes or 2,
    }
    kind, has = kind_of(ledger.dialect.name), ledger.tensors
    biased = "blocks.0.attn.qkv.bias" in has
    if kind.startswith("dinov2"):
        # hidden width: mlp_ratio, a whole number, times the width; two thirds of that for SwiGLU
        swiglu = config.mlp == "swiglu-packed"
        values["use_swiglu_ffn"] = swiglu
        values["mlp_ratio"] = round(config.mlp_dim * (1.5 if swiglu else 1) / config.embed_dim)
        values["num_register_tokens"] = config.reg_tokens
    elif kind.startswith("dinov3"):
        gated = config.mlp != "plain"
        values |= {"use_gated_mlp": gated, "query_bias": biased, "value_bias": biased}
        values |= {"rope_theta": config.rotary_base, "num_register_tokens": config.reg_tokens}
        if gated:
            values["hidden_act"] = "silu"
    elif kind.startswith(("beit", "internvl")):
        values |= {
            "use_absolute_position_embeddings": config.position == "all",
            "use_relative_position_bias": config.rel_pos == "blocks",
            "use_shared_relative_position_bias": config.rel_pos == "shared",
            "use_mean_pooling": config.pool == "avg",
            "layer_scale_init_value": 0.1 if "blocks.0.ls1.gamma" in has else 0.0,
            "attention_bias": biased,
        }
        if kind == "internvl":
            values |= {"image_size": config.image_size, "patch_size": config.patch_size}
    elif kind == "aimv2":
        values |= {"hidden_act": "silu", "rms_norm_eps": config.norm_eps, "use_head": False}
        values |= {"qkv_bias": biased, "mlp_bias": config.mlp_bias}
    elif kind.startswith("siglip"):
        values |= {"vision_use_head": config.pool == "map", "num_patches": config.num_patches}
    elif not kind.startswith(("clip", "owlvit")):
        values["qkv_bias"] = biased
    return values


def loaded(
    model_class: Any,
    config: Any,
    state: dict[str, torch.Tensor],
    left_out: set[str],
    options: dict[str, Any],
) -> Any:
    """The model with the state, whose names are those of a file or of the model in memory.

    Args:
        model_class, config: of transformers.
        state: all tensors that the converted model has.
        left_out: names of others in the file, which the model may have and need not.
        options: of the class.
    """
    with _quiet():
        model, info = model_class.from_pretrained(
            None, config=config, state_dict=state, output_loading_info=True, **options
        )

    def needed(name: str) -> bool:
        ends = ("pooler.dense.weight", "pooler.dense.bias", "mask_token")
        return not name.endswith(ends) and not any(
            name == other or name.endswith(f".{other}") or other.endswith(f".{name}")
            for other in left_out
        )

    wrong = {
        "missing_keys": [name for name in info["missing_keys"] if needed(name)],
        "unexpected_keys": list(info["unexpected_keys"]),
        "mismatched_keys": list(info["mismatched_keys"]),
    }
    if any(wrong.values()):
        raise UsageError(
            f"transformers' {model_class.__name__} does not have the checkpoint's tensors: {wrong}",
            expected="the checkpoint that the artifact was made from",
        )
    return model


def _without_head(model: Any) -> Any:
    """The module that gives what the head reads."""
    return getattr(model, "vision_model", model.base_model)


def inputs_of(kind: str, images: torch.Tensor, spec: ModelSpec) -> dict[str, Any]:
    """Images (n, channels, height, width) as the model takes them: NaFlex's cut into patches."""
    import torch

    if not kind.startswith("siglip2"):
        return {"pixel_values": images}
    (rows, columns), (height, width) = spec.config.grid, spec.config.patch_size
    count = len(images)
    cut = images.reshape(count, -1, rows, height, columns, width).permute(0, 2, 4, 3, 5, 1)
    return {
        "pixel_values": cut.reshape(count, rows * columns, -1),
        "pixel_attention_mask": torch.ones(count, rows * columns, dtype=torch.int64),
        "spatial_shapes": torch.tensor([[rows, columns]] * count),
    }


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


def layers_of(model: Any) -> list[Any]:
    """The blocks: the longest list of modules, wherever a version keeps it."""
    import torch

    lists = [m for m in model.modules() if isinstance(m, torch.nn.ModuleList)]
    longest: Any = max(lists, key=lambda modules: len(list(modules)))
    return list(longest)
