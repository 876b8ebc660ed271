"""Google's JAX checkpoints: vision_transformer's `.npz`, and big_vision's.

https://github.com/google-research/vision_transformer, vit_jax/models_vit.py;
https://github.com/google-research/big_vision, models/vit.py. Kernels are (in, out), convolutions
(height, width, in, out), and q, k, v (in, heads, head_dim).
"""

from __future__ import annotations

from dataclasses import replace

from vit_convert.dialects.attention_transforms import JAX_OUTPUT, jax_head_biases, jax_heads
from vit_convert.dialects.rules import Dialect, Ignore, Rule, defaults, joining, published, renamed
from vit_convert.dialects.transforms import HWIO, TRANSPOSED, Transform


def _linear(source: str, target: str, kernel: Transform = TRANSPOSED) -> tuple[Rule, ...]:
    return (
        renamed(f"{source}/kernel", f"{target}.weight", kernel),
        renamed(f"{source}/bias", f"{target}.bias"),
    )


def _norm(source: str, target: str) -> tuple[Rule, ...]:
    return (
        renamed(f"{source}/scale", f"{target}.weight"),
        renamed(f"{source}/bias", f"{target}.bias"),
    )


def _projections(attention: str, parts: tuple[str, ...], target: str) -> tuple[Rule, ...]:
    """Some of q, k and v of flax's MultiHeadDotProductAttention as one linear layer."""
    kernels = [f"{attention}/{part}/kernel" for part in parts]
    biases = [f"{attention}/{part}/bias" for part in parts]
    return (
        joining(kernels, f"{target}.weight", jax_heads(len(parts))),
        joining(biases, f"{target}.bias", jax_head_biases(len(parts))),
    )


def _block(block: str, attention: int, mlp: int, norm2: int) -> tuple[Rule, ...]:
    """The rules of a block; the older code numbers its submodules another way."""
    heads = f"{block}/MultiHeadDotProductAttention_{attention}"
    return (
        *_norm(f"{block}/LayerNorm_0", "blocks.{i}.norm1"),
        *_projections(heads, ("query", "key", "value"), "blocks.{i}.attn.qkv"),
        *_linear(f"{heads}/out", "blocks.{i}.attn.proj", JAX_OUTPUT),
        *_norm(f"{block}/LayerNorm_{norm2}", "blocks.{i}.norm2"),
        *_linear(f"{block}/MlpBlock_{mlp}/Dense_0", "blocks.{i}.mlp.fc1"),
        *_linear(f"{block}/MlpBlock_{mlp}/Dense_1", "blocks.{i}.mlp.fc2"),
    )


_TRUNK = (
    renamed("cls", "cls_token"),
    *_linear("embedding", "patch_embed.proj", HWIO),
    *_norm("Transformer/encoder_norm", "norm"),
    *_linear("head", "head"),
)
_OTHERS = (
    Ignore("opt/state/{rest}", "the optimizer's state"),
    Ignore("opt/{rest}", "the optimizer's state"),
)
_PRE_LOGITS = (
    Ignore(
        "pre_logits/{rest}",
        "a representation layer with tanh before the head (as ImageNet-21k's originals have it) "
        "is not supported",
    ),
)
_FACTS = {
    **published(
        "Google's ViT",
        norm_eps=1e-6,
        norm_position="pre",
        position="all",
    ),
    **defaults("Google's ViT", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
    **defaults("flax's nn.gelu, with which they are trained; timm runs them with erf", gelu="tanh"),
}

GOOGLE = Dialect(
    name="google",
    architecture="vit",
    title="Google's vision_transformer",
    marker="Transformer/encoderblock_0/MultiHeadDotProductAttention_1/query/kernel",
    rules=(
        *_TRUNK,
        renamed("Transformer/posembed_input/pos_embedding", "pos_embed"),
        *_block("Transformer/encoderblock_{i}", 1, 3, 2),
    ),
    ignored=_OTHERS[:1],
    refused=_PRE_LOGITS,
    facts=_FACTS,
)

_MAP = "MAPHead_0"
_BIG_VISION = (
    *_TRUNK,
    renamed("pos_embedding", "pos_embed"),
    renamed(f"{_MAP}/probe", "attn_pool.latent"),
    *_projections(f"{_MAP}/MultiHeadDotProductAttention_0", ("query",), "attn_pool.q"),
    *_projections(f"{_MAP}/MultiHeadDotProductAttention_0", ("key", "value"), "attn_pool.kv"),
    *_linear(f"{_MAP}/MultiHeadDotProductAttention_0/out", "attn_pool.proj", JAX_OUTPUT),
    *_norm(f"{_MAP}/LayerNorm_0", "attn_pool.norm"),
    *_linear(f"{_MAP}/MlpBlock_0/Dense_0", "attn_pool.mlp.fc1"),
    *_linear(f"{_MAP}/MlpBlock_0/Dense_1", "attn_pool.mlp.fc2"),
)
_TEXT = "the text tower's: an image model does not need it"

BIG_VISION = Dialect(
    name="big_vision",
    architecture="vit",
    title="Google's big_vision",
    marker="Transformer/encoderblock_0/MultiHeadDotProductAttention_0/query/kernel",
    rules=(*_BIG_VISION, *_block("Transformer/encoderblock_{i}", 0, 0, 1)),
    ignored=(
        *_OTHERS[1:],
        Ignore("params/txt/{rest}", _TEXT),
        Ignore("params/t", "scales similarities of images and texts"),
        Ignore("params/b", "shifts similarities of images and texts"),
    ),
    refused=_PRE_LOGITS,
    # its posemb comes before its class token
    facts={**_FACTS, **published("big_vision's ViT", position="patches")},
)

# with `scan=True` one array holds all blocks
BIG_VISION_SCANNED = replace(
    BIG_VISION,
    name="big_vision-scanned",
    title="Google's big_vision, its blocks scanned",
    marker="Transformer/encoderblock/MultiHeadDotProductAttention_0/query/kernel",
    rules=(
        *_BIG_VISION,
        *(replace(r, stacked=True) for r in _block("Transformer/encoderblock", 0, 0, 1)),
    ),
)
