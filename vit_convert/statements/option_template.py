"""Writes a file of options for a checkpoint: every value, and how it is known."""

from __future__ import annotations

from typing import Any

from vit_convert.architectures import Fact, ModelSpec, Recognition, architecture
from vit_convert.architectures.base import CHOICES
from vit_convert.architectures.ranges import OutOfRangeError, checked
from vit_convert.checkpoint.inert import printable
from vit_convert.statements.option_file import OPTIONS

_BUILT = ("embed_dim", "depth", "mlp_dim", "patch_size", "qkv_bias")
_HEAD = """\
# Options for {file}: vit-convert torch2keras {file} --config THIS_FILE
# What is assumed should be compared with the training code: a wrong value gives wrong answers, and
# no error. An option on the command line counts more than a line here.
"""
_REST = """
# The rest follows from the tensors, or is what no option changes:
"""


def options_template(
    spec: ModelSpec, recognition: Recognition, file: str, key: str | None = None
) -> str:
    """A TOML file that states all that is an option, so that nothing need be assumed.

    Args:
        spec: what was recognised.
        recognition: how each value is known, and which of them change nothing.
        file: the checkpoint's name.
        key: which state dict it is, where there are several.
    """
    facts = recognition.facts
    options: list[tuple[str, str]] = []
    others: list[tuple[str, str]] = []
    if key is not None:
        options.append((f"key = {_toml(key)}", "the state dict that is taken"))
    if variant := spec.source.variant:
        line = f"variant = {_toml(variant)}"
        if "variant" not in facts:  # stated, it would make all that is assumed published
            others.append((f"# {line}", "a published model of the same shapes"))
        elif _is_as_published(spec, variant):
            options.append((line, "the published model that it is"))
        else:
            others.append((f"# {line}", "in some values it is built otherwise"))
    known = {"pos_embed": Fact(spec.pos_embed, "assumed", "timm's way"), **facts}
    for name, fact in known.items():
        if name == "variant" and spec.source.variant:
            continue
        line, why = f"{name} = {_toml(fact.value)}", f"{fact.provenance}: {printable(fact.why)}"
        if name not in recognition.unused and _is_option(spec, name, fact.value):
            options.append((line, why))
        else:
            others.append((f"# {line}", why))
    width = max(len(line) for line, _ in (*options, *others))
    left, right = (
        "".join(f"{line:{width}}  # {why}\n" for line, why in rows) for rows in (options, others)
    )
    return _HEAD.format(file=printable(file)) + "\n" + left + _REST + "\n" + right


def _is_option(spec: ModelSpec, name: str, value: Any) -> bool:
    """Whether a value can be stated as it is. A number of classes would mean a fresh head."""
    owners = (spec, spec.config, spec.preprocessing)
    if name not in OPTIONS or name == "num_classes" or not any(hasattr(o, name) for o in owners):
        return False
    if name == "position" and value == "none":
        return False
    try:
        checked(name, value, CHOICES.get(name, ()))
    except OutOfRangeError:
        return False
    return True


def _is_as_published(spec: ModelSpec, variant: str) -> bool:
    """Whether the model has all that tensors tell of a published one."""
    for model in architecture(spec.architecture).published():
        if model.name in (variant, variant.partition(".")[0]):
            return all(getattr(spec.config, name) == model.values.get(name) for name in _BUILT)
    return False


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{_escaped(value)}"'
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_toml, value))}]"
    return repr(value)


def _escaped(text: str) -> str:
    """Text between the quotation marks of a TOML string."""
    return "".join(f"\\U{ord(c):08x}" if c in '"\\' or not c.isprintable() else c for c in text)
