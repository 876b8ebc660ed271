"""The Synthesizer as its authors would have written it, in PyTorch."""

from __future__ import annotations

import torch
from torch import nn

from synthesizer.config import SynthesizerConfig
from vit_convert.architectures import ModelSpec


class PatchEmbed(nn.Module):
    def __init__(self, config: SynthesizerConfig) -> None:
        super().__init__()
        size = config.patch_size
        self.proj = nn.Conv2d(config.in_channels, config.embed_dim, size, size)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.proj(images).flatten(2).transpose(1, 2)


class Mlp(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(nn.functional.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, config: SynthesizerConfig) -> None:
        super().__init__()
        dim, n = config.embed_dim, config.num_patches
        self.scores = nn.Parameter(torch.zeros(n, n))
        self.norm1 = nn.LayerNorm(dim, eps=config.norm_eps)
        self.value, self.proj = nn.Linear(dim, config.value_dim), nn.Linear(config.value_dim, dim)
        self.norm2 = nn.LayerNorm(dim, eps=config.norm_eps)
        self.mlp = Mlp(dim, config.mlp_dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.proj(self.scores.softmax(dim=-1) @ self.value(self.norm1(x)))
        return x + self.mlp(self.norm2(x))


class Synthesizer(nn.Module):
    def __init__(self, config: SynthesizerConfig, num_classes: int) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(config)
        self.pos_embed = nn.Parameter(torch.zeros(1, config.num_patches, config.embed_dim))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.embed_dim, eps=config.norm_eps)
        self.head = nn.Linear(config.embed_dim, num_classes) if num_classes else nn.Identity()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.patch_embed(images) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean(dim=1))


def source_model(spec: ModelSpec, num_classes: int) -> Synthesizer:
    """See `Architecture.source_model`."""
    return Synthesizer(spec.config, num_classes)
