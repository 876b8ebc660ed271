"""open_clip_config.json: a CLIP model as open_clip describes it.

The keys and what an absent one means: open_clip's model.py (`CLIPVisionCfg`,
`_build_vision_tower`), timm_model.py, transform.py (`PreprocessCfg`, `image_transform_v2`) and
push_to_hf_hub.py (`save_config_for_hf`).
"""

from __future__ import annotations

from typing import Any

from vit_convert.architectures import Fact
from vit_convert.errors import RecognitionError
from vit_convert.hf_config.json_reader import Reader
from vit_convert.hf_config.timm_arguments import pool_fact, timm_argument_facts
from vit_convert.hf_config.timm_config import RECOMMENDED_SIZE, variant_fact

OPEN_CLIP_CONFIG = "open_clip_config.json"
_TOWER: dict[str, Any] = {
    "layers": 12,
    "width": 768,
    "head_width": 64,
    "mlp_ratio": 4.0,
    "patch_size": 16,
    "image_size": 224,
    "pool_type": "tok",
    "timm_pool": "avg",
}
_PROJECTION = "linear"
_PICTURES: dict[str, Any] = {
    "mean": (0.48145466, 0.4578275, 0.40821073),
    "std": (0.26862954, 0.26130258, 0.27577711),
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}
_CROP_MODES = {"shortest": "center", "squash": "squash"}
_POOLS = {"tok": "token", "avg": "avg"}
_EPS = 1e-5  # torch.nn.LayerNorm's
_RESNET = "CLIP with a ResNet (ModifiedResNet) as its image tower"


def open_clip_facts(reader: Reader) -> dict[str, Fact]:
    """Field -> its value; the name of a tower that is timm's as "variant".

    Raises:
        CheckpointError: a value is impossible.
        RecognitionError: the tower is no Vision Transformer that is supported here.
    """
    model = reader.part("model_cfg").with_defaults({"quick_gelu": False})
    tower = model.part("vision_cfg").with_defaults(_TOWER)
    pictures = _pictures(reader.part("preprocess_cfg").with_defaults(_PICTURES))
    if tower.says("timm_model_name"):
        return _timm_tower(model, tower) | pictures
    if isinstance(tower.data["layers"], (list, tuple)):
        raise _unsupported(tower, "layers", _RESNET)
    return _tower(model, tower) | pictures


def _tower(model: Reader, tower: Reader) -> dict[str, Fact]:
    """Of open_clip's own VisionTransformer."""
    keys = {"embed_dim": "width", "depth": "layers"}
    facts = {name: tower.field(name, key) for name, key in keys.items()}
    facts |= {name: tower.field(name, name) for name in ("patch_size", "image_size")}
    width, per_head = facts["embed_dim"].value, tower.field("head_dim", "head_width").value
    if width % per_head:
        raise tower.wrong("head_width", f"a divisor of the width {width}")
    facts["num_heads"] = Fact(width // per_head, "read", tower.why("head_width"))
    hidden = int(width * tower.number("mlp_ratio", high=64))
    facts["mlp_dim"] = Fact(hidden, "read", tower.why("mlp_ratio"))
    facts["gelu"] = activation(model, tower)
    norm = tower.part("norm_kwargs").with_defaults({"eps": _EPS})
    facts["norm_eps"] = norm.field("norm_eps", "eps")
    if tower.data.get("attentional_pool"):
        raise _unsupported(tower, "attentional_pool", "CoCa, whose image tower pools by attention")
    pool = tower.data["pool_type"]
    if "pool" in model.given:
        pool = "tok"  # which is not heard
    if not isinstance(pool, str) or pool not in _POOLS:
        raise tower.wrong("pool_type", ", ".join(_POOLS), "which is not supported here", "--pool")
    facts["pool"] = Fact(_POOLS[pool], "read", tower.why("pool_type"))
    if pool == "avg" and tower.data.get("final_ln_after_pool"):
        raise _unsupported(tower, "final_ln_after_pool", "a CLIP that norms after averaging")
    if tower.data.get("no_ln_pre"):
        facts["pre_norm"] = Fact(False, "read", tower.why("no_ln_pre"))
    if model.says("embed_dim"):
        facts["num_classes"] = model.field("num_classes", "embed_dim")
    return facts


def activation(model: Reader, tower: Reader) -> Fact:
    """`TransformerConfig.gelu` of a tower of open_clip's own.

    Args:
        model: `model_cfg`.
        tower: `vision_cfg` or `text_cfg` in it.
    """
    if model.flag("quick_gelu"):
        return Fact("quick", "read", model.why("quick_gelu"))
    options = tower.part("act_kwargs")
    if options.says("approximate"):
        if options.data["approximate"] not in ("none", "tanh"):
            raise options.wrong("approximate", "none or tanh")
        kind = "tanh" if options.data["approximate"] == "tanh" else "erf"
        return Fact(kind, "read", options.why("approximate"))
    return Fact("erf", "read", model.why("quick_gelu"))


def _timm_tower(model: Reader, tower: Reader) -> dict[str, Fact]:
    """Of a model of timm's; quick_gelu means nothing to it."""
    facts = {"variant": variant_fact(tower, "timm_model_name")}
    facts[RECOMMENDED_SIZE] = tower.field("image_size", "image_size")
    facts |= pool_fact(tower, "timm_pool")
    projection = model.part("vision_cfg").data.get("timm_proj", _PROJECTION)  # null means none
    if projection == "none":
        facts["num_classes"] = Fact(0, "read", tower.why("timm_proj"))
    elif not projection and model.says("embed_dim"):
        facts["num_classes"] = model.field("num_classes", "embed_dim")
    return facts | timm_argument_facts(tower.part("timm_model_kwargs"))


def _pictures(reader: Reader) -> dict[str, Fact]:
    facts = {key: reader.field(key, key) for key in ("mean", "std", "interpolation")}
    mode = reader.data["resize_mode"] if "crop_mode" not in reader.given else "squash"
    if not isinstance(mode, str) or mode not in _CROP_MODES:
        raise reader.wrong(
            "resize_mode", ", ".join(_CROP_MODES), "which is not supported here", "--crop-mode"
        )
    facts["crop_mode"] = Fact(_CROP_MODES[mode], "read", reader.why("resize_mode"))
    facts["crop_pct"] = Fact(1.0, "read", "as open_clip always crops")
    return facts


def _unsupported(reader: Reader, key: str, what: str) -> RecognitionError:
    return RecognitionError(
        f"{reader.why(key)} says that this is {what}, which is not supported",
        where=str(reader.path),
        expected="a CLIP whose image tower is a Vision Transformer with a class token",
    )
