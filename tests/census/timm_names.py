"""The models that timm publishes, by their names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from families import import_vision

from census.judging import Verdict, equal_to, judge, write_empty
from census.truth import preprocessing_of, truth_of

timm = import_vision("timm")

# those that we claim to know, and their neighbours, which must be refused or right
KNOWN = ("vision_transformer", "deit", "beit", "eva", "cait")
NEIGHBOURS = (
    "xcit",
    "vision_transformer_hybrid",
    "vision_transformer_relpos",
    "vision_transformer_sam",
    "naflexvit",
)


def names(modules: tuple[str, ...] = KNOWN + NEIGHBOURS) -> list[str]:
    """All names of some of timm's modules."""
    return [name for module in modules for name in timm.list_models(module=module)]


def judge_name(name: str, stem: str, folder: Path) -> Verdict:
    """Judge a published model at its published size, as a file of names and shapes.

    Args:
        name: in timm.
        stem: of the file's name, which may be the model's or say nothing.
        folder: for the file.
    """
    with torch.device("meta"):
        model = timm.create_model(name)
    path = folder / f"{stem}.safetensors"
    write_empty(path, model)
    truth = truth_of(model) if name in names(KNOWN) else {}
    try:
        equal = equal_to(lambda: _small(name, model))
        return judge(name, path, equal, truth, preprocessing_of(model))
    finally:
        path.unlink()


def _small(name: str, whole: torch.nn.Module) -> torch.nn.Module:
    """The same model with one block of each kind."""
    options: dict[str, Any] = {"depth_token_only": 1} if name.startswith("cait") else {}
    if name.endswith("sapiens2"):  # the blocks in the middle share keys and values between heads
        options["num_kv_heads"] = whole.blocks[len(whole.blocks) // 2].attn.num_kv_heads
    model: torch.nn.Module = timm.create_model(name, depth=1, **options)
    return model
