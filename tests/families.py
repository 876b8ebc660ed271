"""Small models of each family in timm, with parameters that hide nothing.

No two dimensions of a model are equal where they could be confused: 24x50 images in patches of 8x10
(3 x 5 of them), width 36 in 4 heads of 9, MLP 63, 7 classes. Only attn.proj (and q, k, v of CaiT's
class attention, and proj_l, proj_w) are square, as they must be.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from vit_convert.architectures import CaiTConfig, ModelSpec, Preprocessing, ViTConfig
from vit_convert.checkpoint.tensor import LazyTensor
from vit_convert.dialects import read_as_canonical
from vit_convert.parity.sources.torch_compat import import_vision

timm = import_vision("timm")
from timm.layers import (  # noqa: E402  # timm must be imported as above first
    LayerNorm,
    QuickGELU,
    RmsNorm,
    SwiGLU,
    SwiGLUPacked,
)
from timm.models.beit import Beit  # noqa: E402  # as above
from timm.models.cait import Cait  # noqa: E402  # as above
from timm.models.deit import VisionTransformerDistilled  # noqa: E402  # as above
from timm.models.eva import Eva  # noqa: E402  # as above
from timm.models.vision_transformer import (  # noqa: E402  # as above
    Block,
    ParallelThingsBlock,
    ResPostBlock,
    VisionTransformer,
)

ACTIVATIONS: dict[str, Callable[..., torch.nn.Module]] = {
    "erf": torch.nn.GELU,
    "tanh": partial(torch.nn.GELU, approximate="tanh"),
    "quick": QuickGELU,
    "relu": torch.nn.ReLU,
    "silu": torch.nn.SiLU,
}

SHAPE: dict[str, Any] = {
    "image_size": (24, 50),
    "patch_size": (8, 10),
    "num_classes": 7,
    "embed_dim": 36,
    "depth": 3,
    "num_heads": 4,
    "mlp_dim": 63,
}
# names inside PyTorch's TransformerEncoderLayer
CANONICAL = {
    "self_attn.in_proj_": "attn.qkv.",
    "self_attn.out_proj": "attn.proj",
    "linear1": "mlp.fc1",
    "linear2": "mlp.fc2",
}
ENCODER_LAYER = re.compile("|".join(map(re.escape, CANONICAL)))
# three different means and deviations, so that a swap shows
PREPROCESSING = Preprocessing((0.48, 0.45, 0.41), (0.23, 0.22, 0.27), "bicubic", 0.9)


@dataclass(frozen=True)
class Family:
    """A small model in timm, in evaluation mode, and what vit-convert says of it."""

    model: torch.nn.Module
    spec: ModelSpec

    def tensors(self) -> dict[str, LazyTensor]:
        """Its state dict under canonical names."""
        tensors = {
            ENCODER_LAYER.sub(lambda found: CANONICAL[found[0]], name): tensor
            for name, tensor in tensors_of(self.model).items()
        }
        return read_as_canonical(tensors, "the model").tensors

    def arrays(self) -> dict[str, np.ndarray]:
        """As `tensors`, read."""
        return {name: tensor.read().copy() for name, tensor in self.tensors().items()}

    def images(self, count: int = 4, seed: int = 0) -> np.ndarray:
        """Normalised images, (count, height, width, channels) float32."""
        config = self.spec.config
        shape = (count, *config.image_size, config.in_channels)
        return np.random.default_rng(seed).standard_normal(shape, np.float32)

    def logits(self, images: np.ndarray) -> np.ndarray:
        """What timm gives for normalised images (n, height, width, channels)."""
        with torch.inference_mode():
            return self.model(channels_first(images)).numpy()


def channels_first(images: np.ndarray) -> torch.Tensor:
    """Images (n, height, width, channels) as PyTorch takes them, (n, channels, height, width).

    The copy matters where bits are compared: PyTorch's convolution takes another path for another
    order of memory, which differs in the last bit on some processors.
    """
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def tensors_of(model: torch.nn.Module) -> dict[str, LazyTensor]:
    """A model's state dict as lazy tensors."""
    return {k: LazyTensor.of(k, v.detach().numpy()) for k, v in model.state_dict().items()}


def randomise(model: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Give every parameter and stored buffer a sizeable random value, and set evaluation mode.

    Fresh parameters hide errors: LayerScale of 1e-5 hides its whole branch, biases of 0 and norm
    weights of 1 can be forgotten, weights of 0.02 make all attention weights equal.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(like: torch.Tensor, mean: float, deviation: float) -> torch.Tensor:
        return mean + deviation * torch.randn(like.shape, generator=generator)

    norms = {
        f"{name}.weight"
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.LayerNorm | RmsNorm)
    }
    stored = set(model.state_dict())
    with torch.no_grad():
        for name, value in (*model.named_parameters(), *model.named_buffers()):
            if name not in stored:  # computed, or a constant, such as the zeros of BEiT's k_bias
                continue
            leaf = name.rpartition(".")[2]
            if name in norms:
                value.copy_(normal(value, 1.0, 0.3))
            elif "gamma" in leaf:  # LayerScale
                value.copy_(normal(value, 0.5, 0.2))
            elif leaf.endswith("bias"):
                value.copy_(normal(value, 0.0, 0.3))
            elif name in ("cls_token", "dist_token", "reg_token", "pos_embed"):
                value.copy_(normal(value, 0.0, 0.7))
            elif value.is_floating_point():
                fan_in = max(value[0].numel(), 1) if value.ndim > 1 else 1
                value.copy_(normal(value, 0.0, 1.3 * fan_in**-0.5))
    return model.eval()


def _options(config: Any) -> dict[str, Any]:
    layer_norm = LayerNorm if getattr(config, "norm_bias", True) else partial(LayerNorm, bias=False)
    ratio = (config.mlp_dim + 0.25) / config.embed_dim  # timm rounds down
    return {
        "img_size": config.image_size,
        "patch_size": config.patch_size,
        "in_chans": config.in_channels,
        "num_classes": config.num_classes,
        "embed_dim": config.embed_dim,
        "depth": config.depth,
        "num_heads": config.num_heads,
        "mlp_ratio": ratio,
        "qkv_bias": config.qkv_bias,
        "act_layer": ACTIVATIONS[config.gelu],
        "norm_layer": partial(
            RmsNorm if getattr(config, "norm", "layer") == "rms" else layer_norm,
            eps=config.norm_eps,
        ),
    }


def small_vit(seed: int = 0, **changes: Any) -> Family:
    """A ViT; `changes` are those of ViTConfig."""
    config = ViTConfig(**SHAPE | changes)
    gated = {"swiglu": SwiGLU, "swiglu-packed": SwiGLUPacked}
    options = _options(config)
    if config.mlp in gated:
        options |= {"mlp_layer": gated[config.mlp], "act_layer": torch.nn.SiLU}
    if config.mlp == "swiglu-packed":
        options["mlp_ratio"] *= 2
    model = VisionTransformer(
        **options,
        block_fn=_block(config),
        class_token=config.class_token,
        reg_tokens=config.reg_tokens,
        no_embed_class=config.position == "patches",
        pos_embed="none" if config.position == "none" else "learn",
        embed_norm_layer=options["norm_layer"] if config.patch_norm else None,
        proj_bias=config.proj_bias,
        pre_norm=config.pre_norm,
        qk_norm=config.qk_norm,
        scale_attn_norm=config.attn_norm,
        scale_mlp_norm=config.mlp_norm,
        global_pool=config.pool,
        pool_include_prefix=config.pool_prefix,
        init_values=0.1 if config.layer_scale else None,
        final_norm=config.final_norm or config.fc_norm,
        fc_norm=config.fc_norm,
    )
    if config.pre_norm == config.patch_bias:  # CLIP has the one, the others the other
        projection = model.patch_embed.proj
        sizes = (projection.in_channels, config.embed_dim, config.patch_size, config.patch_size)
        model.patch_embed.proj = torch.nn.Conv2d(*sizes, bias=config.patch_bias)
    if not config.head_bias:
        model.head = torch.nn.Linear(config.embed_dim, config.num_classes, bias=False)
    return Family(randomise(model, seed), ModelSpec("vit", config, PREPROCESSING))


def _block(config: ViTConfig) -> Callable[..., torch.nn.Module]:
    if config.parallel > 1:
        return partial(ParallelThingsBlock, num_parallel=config.parallel)
    return {"pre": Block, "res-post": ResPostBlock, "post": partial(_encoder_layer, config)}[
        config.norm_position
    ]


def _encoder_layer(config: ViTConfig, **options: Any) -> torch.nn.Module:
    """PyTorch's own block, for timm has none whose norms follow the additions."""
    return torch.nn.TransformerEncoderLayer(
        config.embed_dim,
        config.num_heads,
        config.mlp_dim,
        activation=ACTIVATIONS[config.gelu](),
        layer_norm_eps=config.norm_eps,
        batch_first=True,
    )


def small_beit(seed: int = 0, **changes: Any) -> Family:
    """A BEiT; `changes` are those of ViTConfig."""
    beit = {"rel_pos": "blocks", "position": "none", "layer_scale": True, "pool": "avg"}
    config = ViTConfig(**SHAPE | beit | {"fc_norm": True, "final_norm": False} | changes)
    options = _options(config)
    assert options.pop("act_layer") == torch.nn.GELU
    model = Beit(
        **options,
        use_abs_pos_emb=config.position == "all",
        use_rel_pos_bias=config.rel_pos == "blocks",
        use_shared_rel_pos_bias=config.rel_pos == "shared",
        init_values=0.1 if config.layer_scale else None,
        swiglu_mlp=config.mlp == "swiglu",
        scale_mlp=config.mlp_norm,
        global_pool=config.pool,
    )
    return Family(randomise(model, seed), ModelSpec("vit", config, PREPROCESSING))


def small_eva(seed: int = 0, **changes: Any) -> Family:
    """A model with rotary position embedding, whose heads have 12 channels; `changes` are those of
    ViTConfig."""
    rotary = {"rotary": "eva02", "rotary_base": 30.0, "rotary_grid": (4, 7), "num_heads": 3}
    if changes.get("rotary") in ("dinov3", "axial", "mixed"):  # in whose coordinates there is none
        del rotary["rotary_grid"]
    if changes.get("rotary") == "mixed":
        del rotary["rotary_base"]
    config = ViTConfig(**SHAPE | rotary | changes)
    options = _options(config)
    assert options.pop("act_layer") == torch.nn.GELU
    kind = config.rotary
    if config.pool_mlp_dim:
        options["attn_pool_mlp_ratio"] = (config.pool_mlp_dim + 0.25) / config.embed_dim
    model = Eva(
        **options,
        class_token=config.class_token,
        num_reg_tokens=config.reg_tokens,
        use_abs_pos_emb=config.position != "none",
        no_embed_class=config.position == "patches",
        use_rot_pos_emb=True,
        attn_type="eva" if kind in ("eva02", "dinov3") else "rope",
        rope_type=kind if kind in ("dinov3", "mixed") else "cat",
        rope_rotate_half=kind == "dinov3",
        rope_grid_indexing="xy" if kind in ("axial", "mixed", "pe") else "ij",
        rope_grid_offset=1.0 if kind == "pe" and config.class_token else 0.0,
        rope_temperature=config.rotary_base,
        ref_feat_shape=config.rotary_grid if kind in ("eva02", "pe") else None,
        attn_pool_num_heads=config.pool_heads,
        use_pre_transformer_norm=config.pre_norm,
        qkv_fused=config.mlp != "swiglu",
        qk_norm=config.qk_norm,
        scale_attn_inner=config.attn_norm,
        swiglu_mlp=config.mlp != "plain",
        swiglu_align_to=int(config.mlp == "swiglu"),
        scale_mlp=config.mlp_norm,
        init_values=0.1 if config.layer_scale else None,
        attn_only_layer_scale=not config.mlp_layer_scale,
        global_pool=config.pool,
        use_post_transformer_norm=config.final_norm,
        use_fc_norm=config.fc_norm,
    )
    return Family(randomise(model, seed), ModelSpec("vit", config, PREPROCESSING))


def small_deit(seed: int = 0, **changes: Any) -> Family:
    """A distilled DeiT; `changes` are those of ViTConfig."""
    config = ViTConfig(**SHAPE | {"distilled": True} | changes)
    model = VisionTransformerDistilled(**_options(config))
    return Family(randomise(model, seed), ModelSpec("vit", config, PREPROCESSING))


def small_cait(seed: int = 0, **changes: Any) -> Family:
    """A CaiT; `changes` are those of CaiTConfig."""
    config = CaiTConfig(**SHAPE | {"mlp_dim_token_only": 54} | changes)
    model = Cait(
        **_options(config),
        depth_token_only=config.depth_token_only,
        mlp_ratio_token_only=(config.mlp_dim_token_only + 0.25) / config.embed_dim,
    )
    return Family(randomise(model, seed), ModelSpec("cait", config, PREPROCESSING))


def with_outliers(family: Family, weight: float, bias: float) -> dict[str, LazyTensor]:
    """The tensors of a family, but one of the hidden values of blocks.1.mlp has outlying weights
    behind it, or is itself outlying; it takes next to no part in what the model computes."""
    arrays = family.arrays()
    arrays["blocks.1.mlp.fc1.weight"][5] = 0
    arrays["blocks.1.mlp.fc1.bias"][5] = bias
    signs = np.where(np.arange(family.spec.config.embed_dim) % 2, 1, -1)
    arrays["blocks.1.mlp.fc2.weight"][:, 5] = weight * signs
    return {name: LazyTensor.of(name, array) for name, array in arrays.items()}


# Every kind of model that an architecture has, three blocks deep; each architecture must be here.
FAMILIES: dict[str, Callable[..., Family]] = {
    "vit": small_vit,
    "deit": small_deit,
    "cait": small_cait,
}

# as FAMILIES, with fewer blocks, for whatever is made of each
SHALLOW: dict[str, Callable[..., Family]] = {
    name: partial(make, depth=2) for name, make in FAMILIES.items()
}

# models with something that changes how they begin or end
SPECIAL: dict[str, Callable[..., Family]] = {
    "layer scale": partial(small_vit, depth=2, layer_scale=True),
    "average pool": partial(
        small_vit, depth=2, class_token=False, pool="avg", final_norm=False, fc_norm=True
    ),
    "average beside a class token": partial(
        small_vit, depth=1, pool="avg", final_norm=False, fc_norm=True, gelu="quick"
    ),
    "average, norm before": partial(small_vit, depth=1, pool="avg", gelu="tanh"),
    "no norm": partial(
        small_vit, depth=1, class_token=False, pool="avg", final_norm=False, layer_scale=True
    ),
    "headless": partial(small_vit, depth=1, num_classes=0),
    "one channel": partial(small_vit, depth=1, in_channels=1),
    "3 class blocks": partial(small_cait, depth=1, depth_token_only=3),
}

# small models of what ViT's descendants added, each with several options at once
OPTIONS: dict[str, Callable[..., Family]] = {
    "clip": partial(
        small_vit, depth=2, pre_norm=True, patch_bias=False, head_bias=False, gelu="quick"
    ),
    "dinov2": partial(
        small_vit,
        depth=2,
        reg_tokens=3,
        position="patches",
        layer_scale=True,
        mlp="swiglu-packed",
    ),
    "siglip": partial(small_vit, depth=2, class_token=False, pool="map", gelu="tanh"),
    "beit": partial(small_beit, depth=2),
    "shared table": partial(
        small_beit, depth=2, rel_pos="shared", position="all", mlp="swiglu", mlp_norm=True
    ),
    "masked beit": partial(
        small_beit, depth=2, rel_pos="shared", pool="token", fc_norm=False, final_norm=True
    ),
    "norms everywhere": partial(
        small_vit,
        depth=2,
        pre_norm=True,
        qk_norm=True,
        attn_norm=True,
        mlp="swiglu",
        mlp_norm=True,
        pool="avgmax",
    ),
    "post-norm": partial(small_vit, depth=2, norm_position="post", gelu="relu"),
    "residual post-norm": partial(
        small_vit, depth=2, norm_position="res-post", qkv_bias=False, pool="max"
    ),
    "eva02": partial(
        small_eva,
        depth=2,
        mlp="swiglu",
        mlp_norm=True,
        attn_norm=True,
        pool="avg",
        final_norm=False,
        fc_norm=True,
    ),
    "dinov3": partial(
        small_eva,
        depth=2,
        rotary="dinov3",
        reg_tokens=2,
        position="none",
        layer_scale=True,
        mlp="swiglu",
    ),
    "dinov3 without registers": partial(
        small_eva, depth=2, rotary="dinov3", position="none", layer_scale=True, qkv_bias=False
    ),
    "clip, average": partial(
        small_vit,
        depth=2,
        pre_norm=True,
        patch_bias=False,
        pool="avg",
        final_norm=False,
        fc_norm=True,
    ),
    "average with the class token": partial(small_vit, depth=2, pool="avg", pool_prefix=True),
    "no whole patches": partial(
        small_vit, depth=2, image_size=(29, 57), class_token=False, pool="map", gelu="tanh"
    ),
    "no positions": partial(small_vit, depth=2, position="none"),
    "aimv2": partial(
        small_vit,
        depth=2,
        norm="rms",
        norm_bias=False,
        norm_eps=1e-5,
        patch_norm=True,
        class_token=False,
        qkv_bias=False,
        proj_bias=False,
        mlp="swiglu",
        mlp_bias=False,
        pool="avg",
    ),
    "rms norms everywhere": partial(
        small_vit,
        depth=2,
        norm="rms",
        norm_bias=False,
        norm_eps=2e-3,
        pre_norm=True,
        patch_bias=False,
        qk_norm=True,
        attn_norm=True,
        mlp_norm=True,
        norm_position="res-post",
        pool="max",
    ),
    "norms without a bias": partial(
        small_vit, depth=2, norm_bias=False, pre_norm=True, qk_norm=True, pool="max"
    ),
    "norm of patches": partial(small_vit, depth=2, patch_norm=True, reg_tokens=2),
    "axial": partial(small_eva, depth=2, rotary="axial", position="none", layer_scale=True),
    "axial beside positions": partial(
        small_eva, depth=2, rotary="axial", position="patches", layer_scale=True
    ),
    "mixed": partial(small_eva, depth=2, rotary="mixed", position="none", layer_scale=True),
    "mixed beside positions": partial(
        small_eva, depth=2, rotary="mixed", position="patches", layer_scale=True
    ),
    "pe core": partial(
        small_eva,
        depth=2,
        rotary="pe",
        pre_norm=True,
        patch_bias=False,
        pool="map",
        pool_prefix=True,
        pool_heads=4,
        pool_mlp_dim=44,
    ),
    "pe lang": partial(
        small_eva,
        depth=2,
        rotary="pe",
        class_token=False,
        pre_norm=True,
        patch_bias=False,
        layer_scale=True,
        final_norm=False,
        pool="avg",
    ),
    "pe spatial": partial(
        small_eva, depth=2, rotary="pe", pre_norm=True, patch_bias=False, final_norm=False
    ),
    "sapiens2": partial(
        small_eva,
        depth=2,
        rotary="dinov3",
        norm="rms",
        norm_bias=False,
        reg_tokens=2,
        position="none",
        layer_scale=True,
        mlp_layer_scale=False,
        qk_norm=True,
        mlp="swiglu-packed",
    ),
    "silu": partial(small_vit, depth=2, gelu="silu"),
    "gated, attention pooling": partial(
        small_vit, depth=2, class_token=False, mlp="swiglu", pool="map", gelu="silu"
    ),
    "parallel": partial(small_vit, depth=2, parallel=2, layer_scale=True),
}

# Every small model there is. A test of what artifacts must be takes them all from here.
MODELS: dict[str, Callable[..., Family]] = SHALLOW | SPECIAL | OPTIONS
# those that stand for the others where each takes long
CLASSIFIERS = (*SHALLOW, "layer scale", "average pool")
