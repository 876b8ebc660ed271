"""What config.json and open_clip_config.json say of a text tower.

The keys and what an absent one means: transformers' configuration_clip.py, configuration_siglip.py,
configuration_siglip2.py and configuration_metaclip_2.py; open_clip's model.py (`CLIPTextCfg`,
`_build_text_tower`) and tokenizer.py (`get_clean_fn`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from vit_convert.architectures import Fact
from vit_convert.architectures.text.config import TextPool
from vit_convert.checkpoint.inert import printable
from vit_convert.errors import RecognitionError
from vit_convert.hf_config.json_reader import Reader, read_json
from vit_convert.hf_config.open_clip_config import OPEN_CLIP_CONFIG, activation

# what is done to texts before they become tokens: nothing; lower case; lower case without
# punctuation and with single spaces; the same of what has spaces in place of underscores
Cleaning = Literal["none", "lower", "canonical", "words"]

_CLIP: dict[str, Any] = {
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
    "num_attention_heads": 8,
    "eos_token_id": 49407,
}
_SIGLIP: dict[str, Any] = {
    "hidden_act": "gelu_pytorch_tanh",
    "layer_norm_eps": 1e-6,
    "num_attention_heads": 12,
}
# model_type of a config.json -> what a key of its text_config means where it is left out
_DEFAULTS = {"clip": _CLIP, "metaclip_2": _CLIP, "siglip": _SIGLIP, "siglip2": _SIGLIP}
# CLIPTextModel.forward: files from before transformers' #24773 say this, whatever the end token is;
# MetaClip2TextModel.forward takes them at their word
_LEGACY_END = 2
_OPEN_CLIP: dict[str, Any] = {
    "context_length": 77,
    "width": 512,
    "heads": 8,
    "layers": 12,
    "mlp_ratio": 4.0,
    "no_causal_mask": False,
    "pool_type": "argmax",
    "eos_id": 2,
}
# text_cfg.tokenizer_kwargs.clean -> what is done to texts
_OPEN_CLIP_CLEANINGS: dict[str, Cleaning] = {
    "whitespace": "none",
    "lower": "lower",
    "canonicalize": "words",
}
_OPEN_CLIP_POOLS: dict[str, TextPool] = {"argmax": "highest", "eos": "end", "last": "last"}
_EPS = 1e-5  # torch.nn.LayerNorm's
_EXPECTED = "CLIP or SigLIP with a text tower of its own: transformers' model_type " + " or ".join(
    _DEFAULTS
)


def text_tower_refusal(folder: Path) -> RecognitionError | None:
    """The error for a folder whose config.json is of a model with another text tower.

    Raises:
        CheckpointError: the file cannot be read.
    """
    path = folder / "config.json"
    data = read_json(path)
    if data is None:
        return None
    kind = data.get("model_type")
    if isinstance(kind, str) and kind in _DEFAULTS:
        return None
    return RecognitionError(
        f"its model_type is {printable(str(kind)[:60])!r}, whose text tower is not known here",
        where=str(path),
        expected=_EXPECTED,
    )


def transformers_text_facts(folder: Path) -> dict[str, Fact]:
    """Field of `TextConfig` -> its value, by a folder's config.json; {} without one.

    Raises:
        CheckpointError: a value is impossible.
        RecognitionError: it is the config.json of another model.
    """
    path = folder / "config.json"
    data = read_json(path)
    if data is None:
        return {}
    if refusal := text_tower_refusal(folder):
        raise refusal
    kind = data["model_type"]
    whole = Reader(data, path)
    later = whole.part("text_config_dict").data  # which counts more: CLIPConfig.__init__
    stated = {**whole.part("text_config").data, **later}
    text = Reader(stated, path, "text_config.").with_defaults(_DEFAULTS[kind])
    facts = {
        "num_heads": text.field("num_heads", "num_attention_heads"),
        "norm_eps": text.field("norm_eps", "layer_norm_eps"),
        "gelu": Fact(text.activation("hidden_act"), "read", text.why("hidden_act")),
    }
    if _DEFAULTS[kind] is _CLIP:
        facts |= _pooling(text, legacy=kind == "clip")
    return facts


def _pooling(text: Reader, legacy: bool) -> dict[str, Fact]:
    """Of transformers' CLIP and MetaCLIP 2; `legacy` for what an end token of 2 means to CLIP."""
    end, why = text.data["eos_token_id"], text.why("eos_token_id")
    if not isinstance(end, int) or isinstance(end, bool) or end < 0:
        raise text.wrong("eos_token_id", "a token's index")
    if legacy and end == _LEGACY_END:
        return {"pool": Fact("highest", "read", why)}
    return {"pool": Fact("end", "read", why), "end_token": Fact(end, "read", why)}


def open_clip_text_facts(folder: Path) -> dict[str, Fact]:
    """Field of `TextConfig` -> its value, by a folder's open_clip_config.json; {} without one.

    Raises:
        CheckpointError: a value is impossible.
        RecognitionError: the text tower is not open_clip's own, or one that is not known here.
    """
    path = folder / OPEN_CLIP_CONFIG
    data = read_json(path)
    if data is None:
        return {}
    model = Reader(data, path).part("model_cfg").with_defaults({"quick_gelu": False})
    text = model.part("text_cfg").with_defaults(_OPEN_CLIP)
    for key, what in (
        ("hf_model_name", "a text tower of transformers"),
        ("embed_cls", "CoCa's text tower"),
        ("ls_init_value", "a text tower with LayerScale"),
    ):
        if text.data.get(key):
            raise RecognitionError(
                f"{text.why(key)} says that it has {what}, which is not supported",
                where=str(path),
                expected="a text tower of open_clip's own (TextTransformer)",
            )
    pool = text.data["pool_type"]
    if not isinstance(pool, str) or pool not in _OPEN_CLIP_POOLS:
        raise text.wrong("pool_type", ", ".join(_OPEN_CLIP_POOLS), "which is not supported here")
    causal = not text.flag("no_causal_mask")
    norm = text.part("norm_kwargs").with_defaults({"eps": _EPS})
    facts = {
        "num_heads": text.field("num_heads", "heads"),
        "norm_eps": norm.field("norm_eps", "eps"),
        "gelu": activation(model, text),
        "causal": Fact(causal, "read", text.why("no_causal_mask")),
        "pool": Fact(_OPEN_CLIP_POOLS[pool], "read", text.why("pool_type")),
    }
    if pool == "eos":
        facts["end_token"] = Fact(text.whole("eos_id"), "read", text.why("eos_id"))
    return facts


def open_clip_cleaning(folder: Path) -> Cleaning | None:
    """What is done to texts, by a folder's open_clip_config.json; None where it does not say.

    Raises:
        CheckpointError: it says something that is not known.
    """
    path = folder / OPEN_CLIP_CONFIG
    data = read_json(path)
    if data is None:
        return None
    options = Reader(data, path).part("model_cfg").part("text_cfg").part("tokenizer_kwargs")
    if not options.says("clean"):
        return None
    stated = options.data["clean"]
    if not isinstance(stated, str) or stated not in _OPEN_CLIP_CLEANINGS:
        raise options.wrong("clean", ", ".join(_OPEN_CLIP_CLEANINGS))
    return _OPEN_CLIP_CLEANINGS[stated]
