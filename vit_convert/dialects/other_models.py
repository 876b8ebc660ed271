"""Models that are mistaken for Vision Transformers, recognised by their tensor names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from vit_convert.dialects.unsupported import UNSUPPORTED

# a part of a name, between dots, that no ViT here has -> whose it is
_OTHER_MODELS = {
    "layers.0.blocks.0.attn.relative_position_bias_table": "windowed attention of Swin: not a ViT",
    "layers.0.blocks.0.attention.self.relative_position_bias_table": (
        "windowed attention of Swin: not a ViT"
    ),
    "layers.0.blocks.0.attention.self.logit_scale": "windowed attention of Swin V2: not a ViT",
    "embeddings.detection_tokens": "a YOLOS, whose detection tokens stand behind the patches",
    "embeddings.rms_norm": "an AIMv2 that computes its positions from the picture's size",
    "class_pos_emb": "an MLCD, whose rotary position embedding is not supported",
    "layers.0.blocks.0.attn.logit_scale": "windowed attention of Swin V2: not a ViT",
    "stages.0.blocks.0.attn.logit_scale": "windowed attention of Swin V2: not a ViT",
    "blocks.0.attn_block.attn.rel_pos": "windowed attention of MaxViT: not a ViT",
    "stages.0.blocks.0.attn.rel_pos.relative_position_bias_table": (
        "windowed attention of GCViT: not a ViT"
    ),
    "stages.0.blocks.0.attn.rel_pos_h": "pooling attention of MViT: not a ViT",
    "blocks.0.attn.rel_pos_h": "windowed attention of SAM: not a plain ViT",
    "layers.0.attn.rel_pos_h": "windowed attention of SAM: not a plain ViT",
    "blocks.0.local_conv": "a TinyViT, as MobileSAM has, whose stages shrink the grid: not a ViT",
    "pos_embed_window": "windowed attention of Hiera: not a ViT",
    "blocks.0.attn.attention_biases": "attention with learned biases of LeViT: not a ViT",
    "blocks.0.attn.temperature": "cross-covariance attention of XCiT: not a ViT",
    "blocks.0.attn.gating_param": "gated positional attention of ConViT: not a ViT",
    "blocks.0.attn_in": "attention inside patches of TNT: not a ViT",
    "blocks.1.proj": "pooling attention of Hiera: not a ViT",
    "blocks.2.proj": "pooling attention of Hiera: not a ViT",
    "blocks.0.attn.lambda_q1": "differential attention: not supported",
    "blocks.0.in_proj": "attention and MLP in one layer (ViT-22B's blocks): not supported",
    "blocks.0.attn.rel_pos": "relative positions by an MLP or a window's table: not BEiT's",
    "shared_rel_pos": "relative positions by an MLP or a window's table: not BEiT's",
    "transformers.0.blocks.0": "a PiT, whose stages shrink the grid: not a ViT",
    "blocks.0.blocks": "a CrossViT, with two sizes of patches: not a ViT",
    "pos_embed_0": "a CrossViT, with two sizes of patches: not a ViT",
    "levels.0.transformer_encoder": "a NesT, with nested windows: not a ViT",
    "serial_blocks1": "a CoaT, whose attention is factorised: not a ViT",
    "outlooker": "a VOLO, with outlook attention: not a ViT",
    "network.0.0.attn": "a VOLO, with outlook attention: not a ViT",
    "blocks.0.mlp_tokens": "an MLP-Mixer: not a ViT",
    "patch_embeds": "a Twins or PVT, whose stages shrink the grid: not a ViT",
    "stages.0.blocks.0.attn.kv": "a PVT, whose stages shrink the grid: not a ViT",
    "stages.0.blocks.0.0.cpe1": "a DaViT, with windows and channel attention: not a ViT",
    "patch_embed.backbone": "a hybrid, whose patches are those of a convolutional network",
    "patch_embed.proj.0.0": "a ViT with a convolutional stem: not supported",
    "embeds.proj": "a NaFlexViT: load it as timm's VisionTransformer and save it again",
    "layer1.0.conv1": "a ResNet: not a ViT",
    "features.0.0": "a convolutional network of torchvision: not a ViT",
    "stages.0.blocks.0.conv_dw": "a ConvNeXt: not a ViT",
}


def guess(tensors: Iterable[str]) -> str:
    """Guess another model from its tensor names. The text ends a sentence; "" if none is known."""
    names = list(tensors)
    dotted = [f".{name}." for name in names]
    for part, what in _OTHER_MODELS.items():
        if any(f".{part}." in name for name in dotted):
            return f"; this looks like {what}" if what.startswith("a") else f"; {what}"
    # transformers' classes with a head have their model inside, under its type's name
    modules = Counter(name.split(".")[0] for name in names)
    for module, count in modules.most_common(1):
        if 2 * count > len(names) and module in UNSUPPORTED:
            title, reason = UNSUPPORTED[module]
            return f"; by their names this is {title}: {reason}"
    return ""
