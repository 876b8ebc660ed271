"""Refusals that name the cause: what config.json says the model is, where that is no model here."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from vit_convert.checkpoint import Checkpoint
from vit_convert.checkpoint.inert import printable
from vit_convert.dialects.unsupported import UNSUPPORTED
from vit_convert.dialects.unsupported_timm import timm_refusal
from vit_convert.errors import CheckpointError, MappingError, RecognitionError
from vit_convert.hf_config.json_reader import ALONE, read_json
from vit_convert.hf_config.timm_config import is_timm_config
from vit_convert.hf_config.towers import SUPPORTED, model_types
from vit_convert.statements.names import timm_names

_P = ParamSpec("_P")
_R = TypeVar("_R")
_LONGEST = 60  # characters of a stranger's model_type that are shown


def naming_the_cause(
    recognise: Callable[Concatenate[Checkpoint, _P], _R],
) -> Callable[Concatenate[Checkpoint, _P], _R]:
    """Where recognition fails and config.json says that the model is another, that is the error."""

    @wraps(recognise)
    def wrapped(checkpoint: Checkpoint, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return recognise(checkpoint, *args, **kwargs)
        except (RecognitionError, MappingError) as error:
            try:
                refusal = stated_elsewhere(checkpoint)
            except CheckpointError:  # a file is no JSON, which is not why it failed
                raise error from None
            if refusal is None:
                raise
            raise refusal from error

    return wrapped


def stated_elsewhere(checkpoint: Checkpoint) -> RecognitionError | None:
    """The error that names the model that a file beside the checkpoint, or its training script,
    says it is; None if they say no other.

    Raises:
        CheckpointError: a file cannot be read.
    """
    folder = checkpoint.path.parent
    for where, name in timm_names(checkpoint):
        if reason := timm_refusal(name):
            return RecognitionError(
                f"this is timm's {printable(name)}, by {where}, and that is {reason}",
                where=str(checkpoint.path),
                expected="a model of those that docs/dialects.md lists",
                hint=f"if that is of another checkpoint, {ALONE}",
            )
    if is_timm_config(read_json(folder / "config.json") or {}):
        return None
    return refusal_beside(folder, known_only=False)


def refusal_beside(folder: Path, known_only: bool = True) -> RecognitionError | None:
    """The error that names the model of a config.json; None if that says no other model.

    Args:
        folder: with the config.json.
        known_only: of models that are known not to be supported; else also of types that nothing
            is known of.

    Raises:
        CheckpointError: config.json cannot be read.
    """
    path = folder / "config.json"
    tower, *rest = model_types(read_json(path) or {}) or ("",)
    whole = rest[-1] if rest else tower
    known = tower in SUPPORTED
    if whole in UNSUPPORTED and not (known and known_only):
        title, reason = UNSUPPORTED[whole]
        return _refusal(f"this is {title}, by its config.json: {reason}", path, whole)
    if tower in UNSUPPORTED:
        title, reason = UNSUPPORTED[tower]
        return _refusal(f"its image tower is {title}, by config.json: {reason}", path, tower)
    if known_only or known or not tower:
        return None
    kind = printable(tower[:_LONGEST])
    return _refusal(f"config.json says model_type {kind!r}, which is no model here", path, kind)


def _refusal(what: str, path: Path, kind: str) -> RecognitionError:
    return RecognitionError(
        what,
        where=f"{path}: model_type {kind!r}",
        expected="a Vision Transformer of those that docs/dialects.md lists",
        hint=f"if that file belongs to another checkpoint, {ALONE}",
    )
