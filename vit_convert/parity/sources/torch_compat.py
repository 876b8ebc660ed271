"""Importing PyTorch's vision libraries when torchvision was built against another PyTorch."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

_OPERATOR_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_kept_alive: list[Any] = []  # a torch Library unregisters its operators when it is collected


def import_vision(name: str) -> ModuleType:
    """Import `timm`, `torchvision` or `transformers` (or a module of theirs).

    A CUDA build of torchvision beside a CPU build of PyTorch (a common mismatch) fails with
    "operator torchvision::nms does not exist", because its compiled operators cannot load. No model
    here uses them, so declaring their two schemas is enough for the import to succeed.

    Raises:
        ImportError: the library is not installed.
    """
    try:
        return importlib.import_module(name)
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for schema in _OPERATOR_SCHEMAS:
        library.define(schema)
    _kept_alive.append(library)
    return importlib.import_module(name)
