"""A Vision Transformer whose head gives values for every pixel: DPT (Ranftl et al. 2021, "Vision
Transformers for Dense Prediction", arXiv:2103.13413) and Depth Anything (Yang et al. 2024,
arXiv:2401.10891 and arXiv:2406.09414) for depth, a linear layer (DINOv2, arXiv:2304.07193, section
7.4) for classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vit_convert.architectures.base import DepthActivation
from vit_convert.architectures.vit.config import ViTConfig

Head = Literal["dpt", "linear"]
Readout = Literal["ignore", "add", "project"]
Fusion = Literal["double", "next"]

Size = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class DenseConfig(ViTConfig):
    """A Vision Transformer with DPT's head for depth, or a linear one for classes.

    DPT's head reads the tokens of several blocks. It makes a map of each, at a resolution of its
    own (readout, reassembly), adds the maps up from the deepest block to the first (fusion), and
    ends in three convolutions. The linear head reads the patches of the last block; its scores
    (`num_classes`) are resized to the picture. What `ViTConfig` says of pooling is not used, and
    what is said here of DPT's head not where the head is linear, but for `taps`.

    Attributes:
        head: "dpt" or "linear".
        head_norm: batch normalisation before the linear head.
        taps: the blocks that are read, counted from 0, in the order of computation.
            `final_norm` says whether the backbone's last norm normalises the tokens of each
            (DINOv2's backbones), or none (DPT's own ViT).
        readout: what becomes of the class token: "ignore"; "add" (it is added to every patch);
            "project" (patch and class token side by side, then a linear layer and the activation).
        neck_dims: channels of each map.
        neck_factors: resolution of each map over that of the patches: above 1 by a transposed
            convolution, below 1 by a strided one; DPT's are 4, 2, 1 and 1/2.
        fusion_dim: channels of the maps that are added up.
        fusion: "double" (DPT: a sum is resized to twice its size, and the next map to the size of
            the sum) or "next" (Depth Anything: a sum is resized to the size of the next map).
        fusion_norm: batch normalisation behind the convolutions of the residual units.
        fusion_bias: whether these convolutions have a bias.
        head_projection: a convolution with ReLU before the head's three.
        head_hidden: channels between the head's second and third convolution.
        depth_activation: "relu" (relative, inverse depth) or "sigmoid" (metric).
        max_depth: what is multiplied by it: the largest depth, in metres for metric models.
    """

    num_classes: int = 0
    head: Head = "dpt"
    head_norm: bool = False
    taps: tuple[int, ...] = (2, 5, 8, 11)
    readout: Readout = "ignore"
    neck_dims: tuple[int, ...] = (48, 96, 192, 384)
    neck_factors: tuple[float, ...] = (4.0, 2.0, 1.0, 0.5)
    fusion_dim: int = 64
    fusion: Fusion = "next"
    fusion_norm: bool = False
    fusion_bias: bool = True
    head_projection: bool = False
    head_hidden: int = 32
    depth_activation: DepthActivation = "relu"
    max_depth: float = 1.0

    @property
    def map_sizes(self) -> tuple[Size, ...]:
        """(height, width) of the map of each tap, the first block's first."""
        return tuple(_scaled(self.grid, factor) for factor in self.neck_factors)

    @property
    def fused_sizes(self) -> tuple[Size, ...]:
        """(height, width) of the sums after they are resized, in the order of computation: the
        deepest block's first."""
        maps = self.map_sizes[::-1]
        sizes: list[Size] = []
        for step, size in enumerate(maps):
            if self.fusion == "next" and step + 1 < len(maps):
                sizes.append(maps[step + 1])
            else:
                rows, columns = sizes[-1] if sizes else size
                sizes.append((2 * rows, 2 * columns))
        return tuple(sizes)

    @property
    def output_size(self) -> Size:
        """(height, width) of what is given: that of the picture for classes, of the whole patches
        for "next", twice that of the last sum for "double"."""
        if self.head == "linear":
            return self.image_size
        if self.fusion == "next":
            return self.seen_size
        rows, columns = self.fused_sizes[-1]
        return 2 * rows, 2 * columns


def stride_of(factor: float) -> int:
    """The stride of the convolution that makes a map smaller."""
    return int(1 / factor)


def _scaled(grid: Size, factor: float) -> Size:
    rows, columns = grid
    if factor >= 1:
        return rows * int(factor), columns * int(factor)
    stride = stride_of(factor)  # 3 x 3, with one row or column of zeros at each side
    return (rows - 1) // stride + 1, (columns - 1) // stride + 1
