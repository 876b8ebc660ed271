"""The names of models in timm that files and training scripts state, whatever they are worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vit_convert.checkpoint import Checkpoint
from vit_convert.hf_config.json_reader import read_json
from vit_convert.hf_config.open_clip_config import OPEN_CLIP_CONFIG
from vit_convert.hf_config.timm_config import timm_name

_SCRIPT = ("model", "arch")


def timm_names(checkpoint: Checkpoint) -> Iterator[tuple[str, str]]:
    """Where a name stands, for people, and the name without the Hub's prefix.

    Raises:
        CheckpointError: a file beside the checkpoint cannot be read.
    """
    folder = checkpoint.path.parent
    config = read_json(folder / "config.json") or {}
    yield from _named("config.json: architecture", config.get("architecture"))
    clip = (read_json(folder / OPEN_CLIP_CONFIG) or {}).get("model_cfg")
    tower = clip.get("vision_cfg") if isinstance(clip, Mapping) else None
    if isinstance(tower, Mapping):
        key = f"{OPEN_CLIP_CONFIG}: model_cfg.vision_cfg.timm_model_name"
        yield from _named(key, tower.get("timm_model_name"))
    extras = checkpoint.extras
    yield from _named("architecture in the checkpoint", extras.get("architecture"))
    args = extras.get("args")
    # other scripts have an "arch" or a "model" of their own; timm's has model_kwargs, too
    if isinstance(args, Mapping) and "model_kwargs" in args:
        for key in _SCRIPT:
            yield from _named(f"args.{key} in the checkpoint", args.get(key))


def _named(where: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, str) and value:
        yield where, timm_name(value)
