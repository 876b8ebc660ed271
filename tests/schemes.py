"""A small randomised model of each naming scheme, made by the real classes, saved as they save it.

The width is 12 in 3 heads of 4, the MLP's 20, pictures 16 x 16 in patches of 4, 5 classes: small
enough for goldens, and only what must be square is.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from depth_sources import (
    DEPTH_SOURCES,
    SEGMENTATION_SOURCES,
    own_names_scheme,
    own_segmentation,
)
from families import randomise
from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from transformers_sources import (
    CLASSES,
    DEPTH,
    DIM,
    HEADS,
    HF,
    HIDDEN,
    PATCH,
    SIZE,
    SOURCES,
    transformers,
)

from vit_convert.architectures import Overrides
from vit_convert.parity.sources.torch_compat import import_vision

torchvision = import_vision("torchvision")

WIDE = 24  # where heads must have 8 channels, so that rotary embedding has two frequencies


_SIZES: dict[str, Any] = {
    "img_size": SIZE,
    "patch_size": PATCH,
    "num_classes": CLASSES,
    "embed_dim": DIM,
    "depth": DEPTH,
    "num_heads": HEADS,
    "mlp_ratio": (HIDDEN + 0.5) / DIM,
}


@dataclass(frozen=True)
class Scheme:
    """A source of checkpoints.

    Attributes:
        name: of this source.
        dialect: what it must be recognised as.
        save: writes the checkpoint into a folder, and gives its path and the model images (n, 3,
            height, width) -> logits or features.
        overrides: what the user must state.
        ignored: how many tensors are ignored for a reason.
        golden: the name of a golden of its own, beside the one of its dialect.
    """

    name: str
    dialect: str
    save: Callable[[Path], tuple[Path, Callable[[torch.Tensor], torch.Tensor]]]
    overrides: Overrides = field(default_factory=Overrides)
    ignored: int = 0
    golden: str = ""

    @property
    def architecture(self) -> str:
        """What it is a scheme of."""
        if "CaiT" in self.name:
            return "cait"
        dense = any(word in self.dialect for word in ("depth", "dpt", "segmentation"))
        return "dense" if dense else "vit"


Saved = tuple[Path, Callable[[torch.Tensor], torch.Tensor]]
HEADED = Overrides(num_heads=HEADS)


def images(count: int = 3, seed: int = 0) -> np.ndarray:
    """Normalised images (count, height, width, channels) float32."""
    return np.random.default_rng(seed).standard_normal((count, SIZE, SIZE, 3), np.float32)


def run(model: Callable[[torch.Tensor], torch.Tensor], pictures: np.ndarray) -> np.ndarray:
    """What a model gives for normalised images."""
    with torch.inference_mode():
        return model(torch.from_numpy(pictures.transpose(0, 3, 1, 2).copy())).numpy()


def vit(**options: Any) -> VisionTransformer:
    """A ViT of timm, randomised; `options` are timm's."""
    return randomise(VisionTransformer(**_SIZES | options))


def _state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def _random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def _timm(folder: Path, wrap: Callable[[Any], Any] = lambda s: s, **options: Any) -> Saved:
    model = vit(**options)
    torch.save(wrap(_state(model)), folder / "model.pth")
    return folder / "model.pth", model


def _gamma(folder: Path) -> Saved:
    model = vit(init_values=0.1)
    state = {
        name.replace("ls1.gamma", "gamma_1").replace("ls2.gamma", "gamma_2"): value
        for name, value in _state(model).items()
    }
    torch.save(state, folder / "model.pth")
    return folder / "model.pth", model


def _other(folder: Path, model: nn.Module) -> Saved:
    save_file(_state(randomise(model)), folder / "model.safetensors")
    return folder / "model.safetensors", model


def _beit(folder: Path) -> Saved:
    from timm.models.beit import Beit

    return _other(folder, Beit(**_SIZES, use_rel_pos_bias=True, use_abs_pos_emb=False))


def _beit_pre_trained(folder: Path) -> Saved:
    """As Microsoft publishes BEiT's pre-training: masked, one table for all blocks, no head."""
    from timm.models.beit import Beit

    options = {"num_classes": 0, "use_fc_norm": False, "global_pool": "token"}
    model = randomise(Beit(**_SIZES | options, use_shared_rel_pos_bias=True, use_abs_pos_emb=False))
    state = _state(model) | {
        "mask_token": _random(1, 1, DIM),
        "lm_head.weight": _random(7, DIM),
        "lm_head.bias": _random(7),
        "rel_pos_bias.relative_position_index": torch.zeros(17, 17, dtype=torch.int64),
    }
    torch.save({"model": state}, folder / "beit_pt22k.pth")
    return folder / "beit_pt22k.pth", model


_ROTARY: dict[str, Any] = {
    "embed_dim": WIDE,
    "mlp_ratio": (HIDDEN + 0.5) / WIDE,
    "use_rot_pos_emb": True,
    "rope_temperature": 30.0,
}


def _eva02(folder: Path) -> Saved:
    from timm.models.eva import Eva

    gated = {"qkv_fused": False, "swiglu_mlp": True, "scale_mlp": True, "scale_attn_inner": True}
    return _other(folder, Eva(**_SIZES | _ROTARY, **gated, ref_feat_shape=(16, 16)))


def _timm_dinov3(folder: Path, **options: Any) -> Saved:
    from timm.models.eva import Eva

    return _other(
        folder,
        Eva(
            **_SIZES | _ROTARY | {"num_classes": 0},
            rope_type="dinov3",
            rope_rotate_half=True,
            **{"num_reg_tokens": 2} | options,
            use_abs_pos_emb=False,
            init_values=0.1,
            use_fc_norm=False,
            global_pool="token",
        ),
    )


def _timm_rotary(folder: Path, **options: Any) -> Saved:
    """A model of naver-ai's rope-vit or a Perception Encoder, as timm makes them."""
    from timm.models.eva import Eva

    return _other(folder, Eva(**_SIZES | _ROTARY | options, attn_type="rope"))


def _sapiens2(folder: Path) -> Saved:
    """The heads of the first block's queries share one head of keys and values; the second's have
    their own."""
    from timm.layers import RmsNorm

    return _timm_rotary(
        folder,
        num_kv_heads=(1, HEADS),
        qkv_fused=False,
        qk_norm=True,
        swiglu_mlp=True,
        init_values=1.0,
        attn_only_layer_scale=True,
        rope_type="dinov3",
        rope_rotate_half=True,
        use_abs_pos_emb=False,
        num_reg_tokens=2,
        use_fc_norm=False,
        norm_layer=partial(RmsNorm, eps=1e-6),
        global_pool="token",
    )


def _aimv2(folder: Path) -> Saved:
    from timm.layers import RmsNorm, SwiGLU

    norm = partial(RmsNorm, eps=1e-5)
    return _timm(
        folder,
        class_token=False,
        fc_norm=False,
        global_pool="avg",
        qkv_bias=False,
        proj_bias=False,
        norm_layer=norm,
        embed_norm_layer=norm,
        mlp_layer=SwiGLU,
        act_layer=nn.SiLU,
    )


def _siglip(folder: Path) -> Saved:
    """5 x 5 patches of 3 pixels in pictures of 16: SigLIP so400m/14 sees 27 x 27 in 384 so."""
    return _timm(folder, patch_size=3, img_size=SIZE, class_token=False, global_pool="map")


def _cait(folder: Path) -> Saved:
    from timm.models.cait import Cait

    sizes = _SIZES | {"mlp_ratio_token_only": (HIDDEN + 2.5) / DIM, "depth_token_only": 2}
    return _other(folder, Cait(**sizes, qkv_bias=True))


def _parallel(folder: Path) -> Saved:
    from timm.models.vision_transformer import ParallelThingsBlock

    return _timm(folder, block_fn=partial(ParallelThingsBlock, num_parallel=2))


def _bubbliiiing(folder: Path) -> Saved:
    model = vit(act_layer=partial(nn.GELU, approximate="tanh"))
    torch.save(_state(model), folder / "vit-patch_16.pth")
    return folder / "vit-patch_16.pth", model


def _deit(folder: Path) -> Saved:
    from timm.models.deit import VisionTransformerDistilled

    model = randomise(VisionTransformerDistilled(**_SIZES))
    torch.save({"model": _state(model)}, folder / "model.pth")
    return folder / "model.pth", model


def _dino(folder: Path) -> Saved:
    model = vit(num_classes=0)
    state = {f"backbone.{name}": value for name, value in _state(model).items()}
    state |= {"head.mlp.0.weight": _random(7, DIM), "head.last_layer.weight_g": _random(9, 1)}
    student = {f"module.{name}": torch.zeros_like(value) for name, value in state.items()}
    torch.save({"student": student, "teacher": state, "epoch": 3}, folder / "model.pth")
    return folder / "model.pth", model


def _mae(folder: Path) -> Saved:
    model = vit(num_classes=0)
    state = _state(model) | {
        "mask_token": _random(1, 1, 8),
        "decoder_pos_embed": _random(1, 17, 8),
        "decoder_embed.weight": _random(8, DIM),
        "decoder_embed.bias": _random(8),
        "decoder_blocks.0.attn.qkv.weight": _random(24, 8),
        "decoder_norm.weight": _random(8),
        "decoder_pred.bias": _random(48),
    }
    torch.save({"model": state, "epoch": 799}, folder / "model.pth")
    return folder / "model.pth", model


class _Dinov2(nn.Module):
    """Meta's forward pass around timm's blocks: registers without positions, by their own names."""

    def __init__(self, swiglu: bool) -> None:
        from timm.layers import SwiGLUPacked

        super().__init__()
        options: dict[str, Any] = {"num_classes": 0, "init_values": 0.1}
        if swiglu:
            options |= {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU}
            options["mlp_ratio"] = (2 * HIDDEN + 0.5) / DIM
        self.body = vit(**options)
        self.registers = _random(1, 3, DIM)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.body._pos_embed(self.body.patch_embed(x))
        registers = self.registers.expand(len(x), -1, -1)
        tokens = torch.cat([tokens[:, :1], registers, tokens[:, 1:]], dim=1)
        return self.body.norm(self.body.blocks(tokens))[:, 0]


def _dinov2(folder: Path, swiglu: bool = False, chunk: int = 0) -> Saved:
    model = _Dinov2(swiglu)
    state: dict[str, torch.Tensor] = {
        "register_tokens": model.registers,
        "mask_token": _random(1, DIM),
    }
    for name, value in _state(model.body).items():
        if swiglu:
            name = name.replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3")
        if chunk and name.startswith("blocks."):
            _, index, rest = name.split(".", 2)
            name = f"blocks.{int(index) // chunk}.{index}.{rest}"
        state[name] = value
    if chunk:
        state = {f"backbone.{name}": value for name, value in state.items()}
        state["dino_head.mlp.0.weight"] = _random(7, DIM)
        torch.save({"teacher": state}, folder / "model.pth")
    else:
        torch.save(state, folder / "model.pth")
    return folder / "model.pth", model


def _dinov3(folder: Path, gated: bool = False) -> Saved:
    """Meta's names around timm's model: what timm's own filter reads, backwards."""
    options = {"swiglu_mlp": True, "swiglu_align_to": 4} if gated else {}
    _, model = _timm_dinov3(folder, **options, norm_layer=partial(nn.LayerNorm, eps=1e-5))
    (folder / "model.safetensors").unlink()
    names = {"reg_token": "storage_tokens", "gamma_1": "ls1.gamma", "gamma_2": "ls2.gamma"}
    names |= {"mlp.fc1_g": "mlp.w1", "mlp.fc1_x": "mlp.w2"} | (
        {"mlp.fc2": "mlp.w3"} if gated else {}
    )
    state = {"mask_token": _random(1, WIDE), "rope_embed.periods": 30 ** (torch.arange(2) / 2)}
    for name, value in _state(model).items():
        for mine, theirs in names.items():
            name = name.replace(mine, theirs)
        if name.endswith("q_bias"):
            other = model.state_dict()[name.replace("q_bias", "v_bias")]
            stem = name.replace("q_bias", "qkv.bias")
            state[stem] = torch.cat([value, torch.zeros(WIDE), other])
            state[f"{stem}_mask"] = torch.cat(
                [torch.ones(WIDE), torch.zeros(WIDE), torch.ones(WIDE)]
            )
        elif not name.endswith("v_bias"):
            state[name] = value
    torch.save(state, folder / "model.pth")
    return folder / "model.pth", model


def _torchvision(folder: Path, old: bool = False) -> Saved:
    model = torchvision.models.VisionTransformer(
        image_size=SIZE,
        patch_size=PATCH,
        num_layers=DEPTH,
        num_heads=HEADS,
        hidden_dim=DIM,
        mlp_dim=HIDDEN,
        num_classes=CLASSES,
    )
    randomise(model)
    state = _state(model)
    if old:
        names = {"mlp.0.": "mlp.linear_1.", "mlp.3.": "mlp.linear_2."}
        for new_name, old_name in names.items():
            state = {name.replace(new_name, old_name): value for name, value in state.items()}
    torch.save(state, folder / "vit_b_16.pth")
    return folder / "vit_b_16.pth", model


def _transformers(
    folder: Path,
    config: Any,
    model_class: str,
    output: Callable[[Any], torch.Tensor],
    memory: bool = False,
    **options: Any,
) -> Saved:
    model = randomise(getattr(transformers, model_class)(config))
    if memory:
        torch.save(_state(model), folder / "pytorch_model.bin")
        config.save_pretrained(folder)
        return folder / "pytorch_model.bin", lambda x: output(model(x))
    model.save_pretrained(folder, **options)
    return folder, lambda x: output(model(x))


def _hf(name: str, **changes: Any) -> Any:
    return getattr(transformers, name)(**HF | changes)


def _logits(output: Any) -> torch.Tensor:
    return output.logits


def _token(output: Any) -> torch.Tensor:
    return output.last_hidden_state[:, 0]


def _pooled(output: Any) -> torch.Tensor:
    return output.pooler_output


def _embeds(output: Any) -> torch.Tensor:
    return output.image_embeds


def _clip(folder: Path) -> Saved:
    """OpenAI's names: those of transformers' own conversion script, backwards."""
    config = _hf("CLIPVisionConfig", projection_dim=7)
    model = randomise(transformers.CLIPVisionModelWithProjection(config))
    state = _state(model)

    def take(name: str) -> torch.Tensor:
        return state[f"vision_model.{name}"]

    tower = {
        "visual.class_embedding": take("embeddings.class_embedding"),
        "visual.positional_embedding": take("embeddings.position_embedding.weight"),
        "visual.conv1.weight": take("embeddings.patch_embedding.weight"),
        "visual.proj": state["visual_projection.weight"].T.contiguous(),
    }
    for leaf in ("weight", "bias"):
        tower[f"visual.ln_pre.{leaf}"] = take(f"pre_layrnorm.{leaf}")
        tower[f"visual.ln_post.{leaf}"] = take(f"post_layernorm.{leaf}")
        for i in range(DEPTH):
            layer, block = f"encoder.layers.{i}", f"visual.transformer.resblocks.{i}"
            parts = [take(f"{layer}.self_attn.{part}_proj.{leaf}") for part in "qkv"]
            tower[f"{block}.attn.in_proj_{leaf}"] = torch.cat(parts)
            for mine, theirs in (
                ("attn.out_proj", "self_attn.out_proj"),
                ("ln_1", "layer_norm1"),
                ("ln_2", "layer_norm2"),
                ("mlp.c_fc", "mlp.fc1"),
                ("mlp.c_proj", "mlp.fc2"),
            ):
                tower[f"{block}.{mine}.{leaf}"] = take(f"{layer}.{theirs}.{leaf}")
    tower |= {
        "positional_embedding": _random(7, 8),
        "transformer.resblocks.0.attn.in_proj_weight": _random(24, 8),
        "token_embedding.weight": _random(9, 8),
        "ln_final.weight": _random(8),
        "text_projection": _random(8, 7),
        "logit_scale": _random(1),
    }
    save_file(tower, folder / "clip.safetensors")
    return folder / "clip.safetensors", lambda x: model(x).image_embeds


def _clip_archive(folder: Path) -> Saved:
    """As OpenAI publishes it: a TorchScript archive, with settings among the tensors."""
    weights, model = _clip(folder)
    state = load_file(weights) | {
        "input_resolution": torch.tensor(SIZE),
        "context_length": torch.tensor(7),
        "vocab_size": torch.tensor(9),
    }
    root = nn.Module()
    for name, tensor in state.items():
        *path, leaf = name.split(".")
        module = root
        for part in path:
            if not hasattr(module, part):
                module.add_module(part, nn.Module())
            module = getattr(module, part)
        module.register_buffer(leaf, tensor)
    with warnings.catch_warnings():  # TorchScript is deprecated, and the file is from 2021
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(root), folder / "ViT-B-32.pt")
    return folder / "ViT-B-32.pt", model


def _kernel(weight: torch.Tensor) -> np.ndarray:
    return weight.T.numpy()


def _jax(folder: Path, big_vision: bool = False, scanned: bool = False) -> Saved:
    """The inverse of what timm's own loader reads, by the shapes that flax gives its parameters."""
    options: dict[str, Any] = {"act_layer": partial(nn.GELU, approximate="tanh")}
    if big_vision:
        options |= {"class_token": False, "global_pool": "map", "fc_norm": False}
    model = vit(**options)
    state = _state(model)
    width = DIM // HEADS
    arrays = {
        "embedding/kernel": state["patch_embed.proj.weight"].permute(2, 3, 1, 0).numpy(),
        "embedding/bias": state["patch_embed.proj.bias"].numpy(),
        "Transformer/encoder_norm/scale": state["norm.weight"].numpy(),
        "Transformer/encoder_norm/bias": state["norm.bias"].numpy(),
        "head/kernel": _kernel(state["head.weight"]),
        "head/bias": state["head.bias"].numpy(),
    }
    place = "pos_embedding" if big_vision else "Transformer/posembed_input/pos_embedding"
    arrays[place] = state["pos_embed"].numpy()
    if not big_vision:
        arrays["cls"] = state["cls_token"].numpy()
    mha, mlp, norm2 = (0, 0, 1) if big_vision else (1, 3, 2)

    def attention(target: str, weights: list[torch.Tensor], biases: list[torch.Tensor]) -> None:
        for part, weight, bias in zip(("query", "key", "value"), weights, biases, strict=True):
            arrays[f"{target}/{part}/kernel"] = _kernel(weight).reshape(DIM, HEADS, width)
            arrays[f"{target}/{part}/bias"] = bias.numpy().reshape(HEADS, width)

    def rest(target: str, source: str, inner: str, mlp_name: str, norm: str) -> None:
        out = state[f"{source}.weight"]
        arrays[f"{target}/out/kernel"] = _kernel(out).reshape(HEADS, width, DIM)
        arrays[f"{target}/out/bias"] = state[f"{source}.bias"].numpy()
        for j, name in enumerate(("fc1", "fc2")):
            arrays[f"{mlp_name}/Dense_{j}/kernel"] = _kernel(state[f"{inner}.mlp.{name}.weight"])
            arrays[f"{mlp_name}/Dense_{j}/bias"] = state[f"{inner}.mlp.{name}.bias"].numpy()
        for leaf, theirs in (("weight", "scale"), ("bias", "bias")):
            name = "norm2" if inner.startswith("blocks") else "norm"
            arrays[f"{norm}/{theirs}"] = state[f"{inner}.{name}.{leaf}"].numpy()

    for i in range(DEPTH):
        block, target = f"blocks.{i}", f"Transformer/encoderblock_{i}"
        for leaf, theirs in (("weight", "scale"), ("bias", "bias")):
            arrays[f"{target}/LayerNorm_0/{theirs}"] = state[f"{block}.norm1.{leaf}"].numpy()
        heads = f"{target}/MultiHeadDotProductAttention_{mha}"
        qkv = [state[f"{block}.attn.qkv.{leaf}"].chunk(3) for leaf in ("weight", "bias")]
        attention(heads, list(qkv[0]), list(qkv[1]))
        names = (f"{target}/MlpBlock_{mlp}", f"{target}/LayerNorm_{norm2}")
        rest(heads, f"{block}.attn.proj", block, *names)
    if big_vision:
        heads = "MAPHead_0/MultiHeadDotProductAttention_0"
        pool = [
            [state[f"attn_pool.q.{leaf}"], *state[f"attn_pool.kv.{leaf}"].chunk(2)]
            for leaf in ("weight", "bias")
        ]
        attention(heads, pool[0], pool[1])
        rest(heads, "attn_pool.proj", "attn_pool", "MAPHead_0/MlpBlock_0", "MAPHead_0/LayerNorm_0")
        arrays["MAPHead_0/probe"] = state["attn_pool.latent"].numpy()
    if scanned:
        stem = "Transformer/encoderblock_0/"
        for name in [n for n in arrays if n.startswith(stem)]:
            inner = name.removeprefix(stem)
            parts = [arrays.pop(f"Transformer/encoderblock_{i}/{inner}") for i in range(DEPTH)]
            arrays[f"Transformer/encoderblock/{inner}"] = np.stack(parts)
    if big_vision:
        arrays = {f"params/{name}": array for name, array in arrays.items()}
        arrays["opt/0"] = np.zeros(3, np.float32)
    path = folder / "jax.npz"
    np.savez(path, **arrays)
    return path, model


class _Encoder(nn.Module):
    """nn.TransformerEncoder behind a convolution, or the same patches cut out by unfold."""

    def __init__(self, unfold: bool, norm_first: bool, activation: str) -> None:
        super().__init__()
        self.unfold = unfold
        self.patch_embed = (
            nn.Linear(3 * PATCH**2, DIM) if unfold else nn.Conv2d(3, DIM, PATCH, PATCH)
        )
        self.cls_token = nn.Parameter(torch.zeros(1, 1, DIM))
        self.pos_embed = nn.Parameter(torch.zeros(1, 17, DIM))
        layer = nn.TransformerEncoderLayer(
            DIM, HEADS, HIDDEN, activation=activation, batch_first=True, norm_first=norm_first
        )
        norm = nn.LayerNorm(DIM) if norm_first else None
        self.encoder = nn.TransformerEncoder(layer, DEPTH, norm, enable_nested_tensor=False)
        self.head = nn.Linear(DIM, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.unfold:
            tokens = self.patch_embed(nn.functional.unfold(x, PATCH, stride=PATCH).transpose(1, 2))
        else:
            tokens = self.patch_embed(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), tokens], dim=1)
        return self.head(self.encoder(tokens + self.pos_embed)[:, 0])


def _encoder(folder: Path, unfold: bool, norm_first: bool, activation: str) -> Saved:
    model = randomise(_Encoder(unfold, norm_first, activation))
    torch.save(_state(model), folder / "model.pt")
    return folder / "model.pt", model


def _saved(config: str, model: str, output: Callable[[Any], torch.Tensor], **changes: Any) -> Any:
    options = {k: changes.pop(k) for k in ("memory", "max_shard_size") if k in changes}

    def save(folder: Path) -> Saved:
        return _transformers(folder, _hf(config, **changes), model, output, **options)

    return save


_LABELS = {"num_labels": CLASSES}
_REGS = {"num_register_tokens": 3}
_BEIT_REL = {"use_relative_position_bias": True, **_LABELS}
ROTARY = Overrides(num_heads=HEADS, rotary_base=30.0)
SIZED = replace(ROTARY, image_size=(SIZE, SIZE))
SIZED_VIT = replace(HEADED, image_size=(SIZE, SIZE))
_ROPE_VIT: dict[str, Any] = {
    "init_values": 0.1,
    "use_abs_pos_emb": False,
    "rope_grid_indexing": "xy",
    "global_pool": "token",
}
_BESIDE = {"use_abs_pos_emb": True, "no_embed_class": True}
_PE: dict[str, Any] = {
    "use_pre_transformer_norm": True,
    "ref_feat_shape": (4, 4),
    "rope_grid_offset": 1.0,
    "rope_grid_indexing": "xy",
}
_DINOV3 = {"hidden_size": WIDE, "rope_theta": 30.0, "num_register_tokens": 2}
_GATED = {"use_gated_mlp": True, "hidden_act": "silu"}
PRE = Overrides(num_heads=HEADS, norm_position="pre", gelu="erf")

SCHEMES: tuple[Scheme, ...] = (
    Scheme("timm", "timm", _timm, HEADED),
    Scheme("timm, nested", "timm", partial(_timm, wrap=lambda s: {"model": s}), HEADED),
    Scheme("timm, LayerScale as gamma_1", "timm-gamma", _gamma, HEADED),
    Scheme("timm, parallel blocks", "timm", _parallel, HEADED),
    Scheme("timm BEiT", "timm-beit", _beit),
    Scheme("Microsoft BEiT, pre-training", "timm-beit", _beit_pre_trained, ignored=4),
    Scheme("timm EVA-02", "timm-eva", _eva02, ROTARY),
    Scheme("timm DINOv3", "timm-gamma", partial(_timm_dinov3, qkv_bias=False), SIZED),
    Scheme("timm DINOv3, q and v bias", "timm-beit", _timm_dinov3, SIZED),
    Scheme("timm Sapiens2", "timm-grouped", _sapiens2, replace(SIZED, pool="token")),
    Scheme(
        "timm DINOv3 without registers",
        "timm-gamma",
        partial(_timm_dinov3, qkv_bias=False, num_reg_tokens=0),
        SIZED,
        golden="timm-dinov3-without-registers",
    ),
    Scheme("timm AIMv2", "timm", _aimv2, replace(HEADED, norm_eps=1e-5), golden="timm-aimv2"),
    Scheme(
        "timm SigLIP, no whole patches", "timm", _siglip, SIZED_VIT, golden="timm-no-whole-patches"
    ),
    Scheme(
        "timm RoPE-ViT, axial",
        "timm-gamma",
        partial(_timm_rotary, **_ROPE_VIT),
        SIZED,
        golden="timm-rope-axial",
    ),
    Scheme(
        "timm RoPE-ViT, mixed, beside positions",
        "timm-gamma",
        partial(_timm_rotary, **_ROPE_VIT | _BESIDE, rope_type="mixed"),
        golden="timm-rope-mixed",
    ),
    Scheme(
        "timm Perception Encoder, core",
        "timm",
        partial(_timm_rotary, **_PE, global_pool="map", attn_pool_num_heads=8),
        ROTARY,
        golden="timm-pe-core",
    ),
    Scheme(
        "timm Perception Encoder, spatial",
        "timm",
        partial(_timm_rotary, **_PE, use_post_transformer_norm=False, use_fc_norm=False),
        replace(ROTARY, pool="avg", rotary_grid=(4, 4)),
        golden="timm-pe-spatial",
    ),
    Scheme("timm CaiT", "timm", _cait),
    Scheme("bubbliiiing vit-patch_16.pth", "bubbliiiing", _bubbliiiing, HEADED),
    Scheme("facebookresearch DeiT, distilled", "timm", _deit, HEADED),
    Scheme("facebookresearch DINO", "dino", _dino, HEADED, 2),
    Scheme("facebookresearch MAE, pre-training", "mae", _mae, HEADED, 7),
    Scheme(
        "facebookresearch MAE, fine-tuned",
        "timm",
        partial(_timm, global_pool="avg", wrap=lambda s: {"model": s}),
        HEADED,
    ),
    Scheme("facebookresearch DINOv2, registers", "dinov2", _dinov2, HEADED, 1),
    Scheme("facebookresearch DINOv2, SwiGLU", "dinov2", partial(_dinov2, swiglu=True), HEADED, 1),
    Scheme(
        "facebookresearch DINOv2, training",
        "dinov2-chunked",
        partial(_dinov2, chunk=1),
        HEADED,
        2,
    ),
    Scheme("facebookresearch DINOv3", "dinov3", _dinov3, Overrides(image_size=(SIZE, SIZE)), 2),
    Scheme(
        "facebookresearch DINOv3, SwiGLU",
        "dinov3",
        partial(_dinov3, gated=True),
        Overrides(image_size=(SIZE, SIZE)),
        2,
    ),
    Scheme("torchvision", "torchvision", _torchvision, HEADED),
    Scheme(
        "torchvision before 0.13", "torchvision-linear", partial(_torchvision, old=True), HEADED
    ),
    Scheme(
        "transformers ViTForImageClassification",
        "transformers-vit",
        _saved("ViTConfig", "ViTForImageClassification", _logits, **_LABELS),
    ),
    Scheme(
        "transformers ViT, in parts",
        "transformers-vit",
        _saved("ViTConfig", "ViTForImageClassification", _logits, max_shard_size="20KB", **_LABELS),
    ),
    Scheme(
        "transformers ViTModel",
        "transformers-vit",
        _saved("ViTConfig", "ViTModel", _token),
        ignored=2,
    ),
    Scheme(
        "transformers ViT, in memory",
        "transformers-vit-5",
        _saved("ViTConfig", "ViTForImageClassification", _logits, memory=True, **_LABELS),
    ),
    Scheme(
        "transformers DeiT with teacher",
        "transformers-deit",
        _saved("DeiTConfig", "DeiTForImageClassificationWithTeacher", _logits, **_LABELS),
    ),
    Scheme(
        "transformers DeiT, in memory",
        "transformers-deit-5",
        _saved(
            "DeiTConfig", "DeiTForImageClassificationWithTeacher", _logits, memory=True, **_LABELS
        ),
    ),
    Scheme(
        "transformers BEiT",
        "transformers-beit",
        _saved("BeitConfig", "BeitForImageClassification", _logits, **_BEIT_REL),
    ),
    Scheme(
        "transformers BEiT, in memory",
        "transformers-beit-5",
        _saved(
            "BeitConfig",
            "BeitForImageClassification",
            _logits,
            memory=True,
            use_shared_relative_position_bias=True,
            **_LABELS,
        ),
    ),
    Scheme(
        "transformers Dinov2ForImageClassification",
        "transformers-dinov2",
        _saved("Dinov2Config", "Dinov2ForImageClassification", _logits, **_LABELS),
        ignored=1,
    ),
    Scheme(
        "transformers Dinov2Model, SwiGLU",
        "transformers-dinov2",
        _saved("Dinov2Config", "Dinov2Model", _token, use_swiglu_ffn=True),
        ignored=1,
    ),
    Scheme(
        "transformers Dinov2, in memory",
        "transformers-dinov2-5",
        _saved("Dinov2Config", "Dinov2Model", _token, use_swiglu_ffn=True, memory=True),
        ignored=1,
    ),
    Scheme(
        "transformers Dinov2 with registers",
        "transformers-dinov2-registers",
        _saved(
            "Dinov2WithRegistersConfig",
            "Dinov2WithRegistersForImageClassification",
            _logits,
            **_LABELS,
            **_REGS,
        ),
        ignored=1,
    ),
    Scheme(
        "transformers Dinov2 with registers, in memory",
        "transformers-dinov2-registers-5",
        _saved(
            "Dinov2WithRegistersConfig", "Dinov2WithRegistersModel", _token, memory=True, **_REGS
        ),
        ignored=1,
    ),
    Scheme(
        "transformers DINOv3ViTModel",
        "transformers-dinov3",
        _saved("DINOv3ViTConfig", "DINOv3ViTModel", _token, **_DINOV3),
        ignored=1,
    ),
    Scheme(
        "transformers DINOv3ViTModel, SwiGLU",
        "transformers-dinov3-gated",
        _saved("DINOv3ViTConfig", "DINOv3ViTModel", _token, **_DINOV3, **_GATED),
        ignored=1,
    ),
    Scheme(
        "transformers DINOv3, in memory",
        "transformers-dinov3",
        _saved("DINOv3ViTConfig", "DINOv3ViTModel", _token, **_DINOV3, memory=True),
        ignored=1,
    ),
    Scheme(
        "transformers CLIPVisionModel",
        "transformers-clip",
        _saved("CLIPVisionConfig", "CLIPVisionModel", _pooled),
    ),
    Scheme(
        "transformers CLIP with projection",
        "transformers-clip",
        _saved("CLIPVisionConfig", "CLIPVisionModelWithProjection", _embeds, projection_dim=7),
    ),
    Scheme(
        "transformers SiglipVisionModel",
        "transformers-siglip",
        _saved("SiglipVisionConfig", "SiglipVisionModel", _pooled),
    ),
    Scheme("OpenAI CLIP, state dict", "clip", _clip, HEADED, 6),
    Scheme("OpenAI CLIP, as published", "clip", _clip_archive, HEADED, 9),
    Scheme("Google ViT npz", "google", _jax),
    Scheme("big_vision npz", "big_vision", partial(_jax, big_vision=True), ignored=1),
    Scheme(
        "big_vision npz, scanned",
        "big_vision-scanned",
        partial(_jax, big_vision=True, scanned=True),
        ignored=1,
    ),
    Scheme(
        "nn.TransformerEncoder, post-norm",
        "torch-encoder",
        partial(_encoder, unfold=False, norm_first=False, activation="relu"),
        HEADED,
    ),
    Scheme(
        "nn.TransformerEncoder, pre-norm",
        "torch-encoder",
        partial(_encoder, unfold=False, norm_first=True, activation="gelu"),
        PRE,
    ),
    Scheme(
        "nn.TransformerEncoder, unfolded patches",
        "torch-encoder-unfold",
        partial(_encoder, unfold=True, norm_first=False, activation="relu"),
        HEADED,
    ),
    *(
        Scheme(f"transformers {name}", dialect, save, ignored=ignored)
        for name, dialect, save, ignored in (*SOURCES, *DEPTH_SOURCES, *SEGMENTATION_SOURCES)
    ),
    Scheme("Depth Anything V2, its own names", "depth-anything", own_names_scheme, HEADED, 5),
    Scheme("DINOv2, its linear head", "dinov2-segmentation", own_segmentation, HEADED, 2),
)
