"""config.json: the model and its labels.

The keys: transformers' configuration_*.py of the model types in `towers.DEFAULTS`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from vit_convert.architectures import Fact
from vit_convert.architectures.stored import is_text
from vit_convert.checkpoint.inert import printable
from vit_convert.hf_config.json_reader import Reader
from vit_convert.hf_config.towers import DEFAULTS, SUPPORTED
from vit_convert.runtime.limits import CLASSES

# field of the configuration -> key in config.json, and how it is read
_FIELDS: dict[str, tuple[str, Callable[[Reader, str], Any]]] = {
    "embed_dim": ("hidden_size", Reader.whole),
    "depth": ("num_hidden_layers", Reader.whole),
    "num_heads": ("num_attention_heads", Reader.whole),
    "image_size": ("image_size", Reader.sides),
    "patch_size": ("patch_size", Reader.sides),
    "in_channels": ("num_channels", Reader.whole),
    "qkv_bias": ("qkv_bias", Reader.flag),
    "pool": ("use_mean_pooling", lambda reader, key: "avg" if reader.flag(key) else "token"),
    "gelu": ("hidden_act", Reader.activation),
    "norm_eps": ("layer_norm_eps", Reader.number),
    "rotary_base": ("rope_theta", partial(Reader.number, low=1, high=1e9)),
}
# models whose hidden width is computed from mlp_ratio: their intermediate_size means nothing
_BY_RATIO = ("vit_mae", "dinov2", "dinov2_with_registers")


_LONGEST = 60  # characters of a stranger's model_type that are shown


def model_facts(reader: Reader) -> dict[str, Fact]:
    """Field of the configuration -> its value."""
    facts = {
        name: Fact(read(reader, key), "read", f"config.json: {key}")
        for name, (key, read) in _FIELDS.items()
        if key in reader.data and not (key == "hidden_act" and reader.gated())
    }
    if "rms_norm_eps" in reader.data:
        eps = reader.number("rms_norm_eps")
        facts["norm_eps"] = Fact(eps, "read", "config.json: rms_norm_eps")
    kind = reader.data.get("model_type")
    if isinstance(kind, str) and kind and kind not in SUPPORTED:
        why = f"whatever a {printable(kind[:_LONGEST])!r} is, as config.json calls it"
        facts["model_type"] = Fact("that of these names", "assumed", why)
    if isinstance(kind, str) and kind.startswith("dinov2"):
        facts["attention"] = Fact("global", "read", "config.json: model_type")
    if "intermediate_size" in reader.data and kind in DEFAULTS and kind not in _BY_RATIO:
        width = reader.whole("intermediate_size")
        facts["mlp_dim"] = Fact(width, "read", "config.json: intermediate_size")
    return facts


def labels_of(reader: Reader) -> tuple[str, ...]:
    """id2label, unless it is what transformers fills in where nobody gave names."""
    table = reader.data.get("id2label")
    if table is None:
        return ()
    if not isinstance(table, dict) or not 0 < len(table) <= CLASSES.allowed():
        raise reader.wrong("id2label", "a table from class to name")
    names = []
    for index in range(len(table)):
        name = table.get(str(index))
        if not isinstance(name, str) or len(name) > 10_000 or not is_text(name):
            raise reader.wrong("id2label", f"a name for each class; there is none for {index}")
        names.append(name.strip() or str(index))
    if all(name == f"LABEL_{index}" for index, name in enumerate(names)):
        return ()
    return tuple(names)
