"""Checkpoints without PyTorch: `.pth`, `.pt`, `.bin`, `.safetensors` and `.npz` files."""

from vit_convert.checkpoint.opening import Checkpoint, open_checkpoint
from vit_convert.checkpoint.tensor import LazyTensor, Tensors
from vit_convert.checkpoint.writing_safetensors import write_safetensors
from vit_convert.checkpoint.writing_torch import write_torch

__all__ = [
    "Checkpoint",
    "LazyTensor",
    "Tensors",
    "open_checkpoint",
    "write_safetensors",
    "write_torch",
]
