"""Models of timm that are not converted, and why: how their names begin -> what they are and one
line of reason.

A model's name stands in timm's config.json, in open_clip's configuration of a tower that is timm's,
and in what timm's train.py saves.
"""

from __future__ import annotations

from vit_convert.architectures import published_names

_CONVOLUTIONS = "it is a convolutional network, not a ViT"
_WINDOWS = "its attention sees windows of the picture"
_STAGES = "its stages shrink the grid of tokens"
_MIXED = "convolutions and attention take turns in its stages"

# why -> how the names begin -> what it is
_GROUPS: dict[str, dict[str, str]] = {
    _CONVOLUTIONS: {
        "convmixer": "a ConvMixer",
        "convnext": "a ConvNeXt",
        "cspresne": "a CSPNet",
        "cs3": "a CSPNet",
        "densenet": "a DenseNet",
        "dla": "a DLA",
        "dpn": "a DPN",
        "efficientnet": "an EfficientNet",
        "fbnet": "an FBNet",
        "ghostnet": "a GhostNet",
        "hgnet": "an HGNet",
        "hrnet": "an HRNet",
        "inception": "an Inception",
        "legacy_": "an old convolutional network",
        "lcnet": "an LCNet",
        "mixnet": "a MixNet",
        "mnasnet": "an MNASNet",
        "mobilenet": "a MobileNet",
        "mobileone": "a MobileOne",
        "nfnet": "an NFNet",
        "dm_nfnet": "an NFNet",
        "regnet": "a RegNet",
        "repvgg": "a RepVGG",
        "repvit": "a RepViT",
        "res2ne": "a Res2Net",
        "resnest": "a ResNeSt",
        "resnet": "a ResNet",
        "resnext": "a ResNeXt",
        "rexnet": "a ReXNet",
        "seresne": "an SE-ResNet",
        "skresne": "an SK-ResNet",
        "tf_efficientnet": "an EfficientNet",
        "tf_mobilenet": "a MobileNet",
        "vgg": "a VGG",
        "wide_resnet": "a Wide ResNet",
        "xception": "an Xception",
    },
    _WINDOWS: {
        "samvit": "SAM's image encoder",
        "swin_": "a Swin Transformer",
        "swinv2": "a Swin Transformer V2",
        "swin_s3": "a Swin Transformer S3",
        "twins": "a Twins",
        "gcvit": "a GCViT",
        "volo": "a VOLO",
        "nest": "a NesT",
        "jx_nest": "a NesT",
    },
    _STAGES: {
        "coat_": "a CoaT",
        "davit": "a DaViT",
        "efficientvit": "an EfficientViT",
        "hiera": "a Hiera",
        "sam2_hiera": "SAM 2's Hiera",
        "levit": "a LeViT",
        "mvitv2": "an MViTv2",
        "pit_": "a PiT",
        "pvt_v2": "a PVT V2",
        "swiftformer": "a SwiftFormer",
        "tiny_vit": "a TinyViT",
    },
    _MIXED: {
        "caformer": "a CAFormer",
        "coatnet": "a CoAtNet",
        "convformer": "a ConvFormer",
        "edgenext": "an EdgeNeXt",
        "efficientformer": "an EfficientFormer",
        "fastvit": "a FastViT",
        "maxvit": "a MaxViT",
        "maxxvit": "a MaxxViT",
        "mobilevit": "a MobileViT",
        "nextvit": "a Next-ViT",
        "visformer": "a Visformer",
        "vitamin": "a ViTamin",
    },
    "its attention is gated by positions": {"convit": "a ConViT"},
    "it has branches of two patch sizes": {"crossvit": "a CrossViT"},
    "it has focal modulation in place of attention": {"focalnet": "a FocalNet"},
    "its attention is over channels, not over tokens": {"xcit": "an XCiT"},
    "it has a transformer in each patch, too": {"tnt_": "a TNT"},
    "it has no attention": {
        "gmixer": "an MLP-Mixer",
        "gmlp": "a gMLP",
        "mambaout": "a MambaOut",
        "mixer": "an MLP-Mixer",
        "poolformer": "a PoolFormer",
        "resmlp": "a ResMLP",
        "sequencer2d": "a Sequencer",
    },
}
_FAMILIES = {
    prefix: (title, reason) for reason, group in _GROUPS.items() for prefix, title in group.items()
}


def timm_refusal(name: str) -> str:
    """What a model of timm's is and why it is not supported, "" if its family is known here, so
    that the tensors say better what is wrong.

    Args:
        name: in timm.
    """
    if name.partition("_")[0] in {known.partition("_")[0] for known in published_names()}:
        return ""
    prefixes = [prefix for prefix in _FAMILIES if name.startswith(prefix)]
    if prefixes:
        title, reason = _FAMILIES[max(prefixes, key=len)]
        return f"{title}: {reason}"
    return "no model that is known here"
