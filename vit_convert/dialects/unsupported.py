"""Models of Hugging Face transformers that are not converted, and why: its `model_type` -> what it
is and one line of reason.

A model's type stands in config.json, and mostly before the names of its tensors too.
"""

from __future__ import annotations

_CONVOLUTIONS = "it is a convolutional network, not a ViT"
_WINDOWS = "its attention sees windows, and its stages shrink the grid of tokens"
_STAGES = "its stages shrink the grid of tokens"
_VIDEO = "it reads videos, not pictures"
_DETECTOR = "it finds objects with a decoder behind a backbone"
_SEGMENTER = "it paints masks with a decoder behind a backbone"
_WINDOWED_VIT = "most of its blocks see windows of the picture"
_ROTARY_TOWER = "its image tower takes pictures of any size, with rotary positions of its own"
_OWN_TOWER = "its image tower is a model of its own, which is not known here"
_ADAPTED = "what its image tower gives goes through layers of its own, which are not known here"

# why -> model_type -> what it is
_GROUPS: dict[str, dict[str, str]] = {
    _CONVOLUTIONS: {
        "align": "ALIGN",
        "align_vision_model": "ALIGN's EfficientNet",
        "bit": "a BiT",
        "convnext": "a ConvNeXt",
        "convnextv2": "a ConvNeXt V2",
        "dinov3_convnext": "a DINOv3 ConvNeXt",
        "edgetam": "EdgeTAM's RepViT",
        "edgetam_video": "EdgeTAM's RepViT",
        "efficientnet": "an EfficientNet",
        "hgnet_v2": "an HGNet V2",
        "mobilenet_v1": "a MobileNet V1",
        "mobilenet_v2": "a MobileNet V2",
        "pp_lcnet": "a PP-LCNet",
        "pp_lcnet_v3": "a PP-LCNet V3",
        "pp_lcnet_v4": "a PP-LCNet V4",
        "regnet": "a RegNet",
        "resnet": "a ResNet",
        "rt_detr_resnet": "RT-DETR's ResNet",
        "superpoint": "SuperPoint",
        "textnet": "a TextNet",
        "uvdoc_backbone": "UVDoc's backbone",
    },
    _WINDOWS: {
        "donut-swin": "Donut's Swin Transformer",
        "maskformer-swin": "MaskFormer's Swin Transformer",
        "swin": "a Swin Transformer",
        "swin2sr": "Swin2SR",
        "swinv2": "a Swin Transformer V2",
    },
    _STAGES: {
        "cvt": "a CvT",
        "glpn": "a GLPN",
        "groupvit": "a GroupViT",
        "groupvit_vision_model": "a GroupViT",
        "hiera": "a Hiera",
        "levit": "a LeViT",
        "mobilevit": "a MobileViT",
        "mobilevitv2": "a MobileViT V2",
        "sam2": "SAM 2's Hiera",
        "sam2_hiera_det_model": "SAM 2's Hiera",
        "sam2_video": "SAM 2's Hiera",
        "sam2_vision_model": "SAM 2's Hiera",
        "pvt": "a PVT",
        "pvt_v2": "a PVT V2",
        "segformer": "a SegFormer",
        "swiftformer": "a SwiftFormer",
        "florence_vision": "Florence-2's DaViT",
        "florence2": "Florence-2",
    },
    "it has focal modulation in place of attention": {"focalnet": "a FocalNet"},
    "its attention sees neighbourhoods, and its stages shrink the grid": {"dinat": "a DiNAT"},
    "it has pooling in place of attention": {"poolformer": "a PoolFormer"},
    _VIDEO: {
        "timesformer": "a TimeSformer",
        "video_llava": "Video-LLaVA",
        "videomae": "a VideoMAE",
        "videomt": "VidEoMT",
        "videoprism": "VideoPrism",
        "videoprism_vision_model": "VideoPrism",
        "vivit": "a ViViT",
        "vjepa2": "a V-JEPA 2",
        "xclip": "X-CLIP",
        "xclip_vision_model": "X-CLIP",
    },
    "detection tokens stand behind its patches, with positions in every block": {
        "yolos": "a YOLOS"
    },
    "it has several class tokens, whose mean it gives": {"pixio": "a Pixio"},
    "its patch embedding pads the picture, and every patch gets the class token's position too": {
        "vitpose": "a ViTPose",
        "vitpose_backbone": "a ViTPose",
    },
    _WINDOWED_VIT: {
        "sam": "SAM",
        "sam_hq": "SAM-HQ",
        "sam_vision_model": "SAM's image encoder",
        "sam_hq_vision_model": "SAM-HQ's image encoder",
        "sam3": "SAM 3",
        "sam3_tracker": "SAM 3",
        "sam3_video": "SAM 3",
        "sam3_vision_model": "SAM 3's image encoder",
        "got_ocr2": "GOT-OCR 2",
        "got_ocr2_vision": "GOT-OCR 2's image encoder",
        "vitdet": "a ViTDet",
        "vitmatte": "a ViTMatte",
        "lw_detr_vit": "LW-DETR's ViT",
        "rf_detr_dinov2": "RF-DETR's DINOv2",
        "lw_detr": "LW-DETR",
        "rf_detr": "RF-DETR",
    },
    "its rotary position embedding, which also turns the class token, is not known here": {
        "mlcd": "an MLCD",
        "mlcd_vision_model": "an MLCD",
    },
    "it reads pictures as sequences of colours": {"imagegpt": "an ImageGPT"},
    "its latents attend to the pixels": {"perceiver": "a Perceiver"},
    "its tokens are those of texts and patches together": {
        "vilt": "ViLT",
        "flava": "FLAVA",
        "bridgetower": "BridgeTower",
        "layoutlmv3": "LayoutLMv3",
        "udop": "UDOP",
        "fuyu": "Fuyu",
    },
    _DETECTOR: {
        "conditional_detr": "Conditional DETR",
        "d_fine": "D-FINE",
        "dab-detr": "DAB-DETR",
        "deformable_detr": "Deformable DETR",
        "deimv2": "DEIMv2",
        "detr": "DETR",
        "grounding-dino": "Grounding DINO",
        "mm-grounding-dino": "MM Grounding DINO",
        "omdet-turbo": "OmDet-Turbo",
        "pp_doclayout_v2": "PP-DocLayout V2",
        "pp_doclayout_v3": "PP-DocLayout V3",
        "pp_doclayout_v4": "PP-DocLayout V4",
        "pp_ocrv5_mobile_det": "PP-OCRv5",
        "pp_ocrv5_server_det": "PP-OCRv5",
        "pp_ocrv6_medium_det": "PP-OCRv6",
        "pp_ocrv6_small_det": "PP-OCRv6",
        "rt_detr": "RT-DETR",
        "rt_detr_v2": "RT-DETR V2",
        "table-transformer": "Table Transformer",
    },
    _SEGMENTER: {
        "eomt": "EoMT",
        "eomt_dinov3": "EoMT",
        "mask2former": "Mask2Former",
        "maskformer": "MaskFormer",
        "oneformer": "OneFormer",
        "upernet": "UPerNet",
        "sapiens2": "Sapiens 2",
    },
    "it estimates depth with layers behind several backbones or blocks of its own": {
        "chmv2": "CHMv2",
        "depth_pro": "Depth Pro",
        "tipsv2_dpt": "TIPSv2 with DPT",
        "zoedepth": "ZoeDepth",
    },
    "it matches points of two pictures": {
        "efficientloftr": "Efficient LoFTR",
        "lightglue": "LightGlue",
        "superglue": "SuperGlue",
    },
    "its class is one for all models of timm: save the model inside with timm": {
        "timm_backbone": "a model of timm",
        "timm_wrapper": "a model of timm",
    },
    "its files have names of their own, which are not known here": {
        "tipsv2": "TIPSv2",
        "tipsv2_vision_model": "TIPSv2's image tower",
    },
    _ROTARY_TOWER: {
        "glm4v": "GLM-4V",
        "glm4v_moe": "GLM-4V",
        "glm46v": "GLM-4.6V",
        "kimi_k25": "Kimi K2.5",
        "lighton_ocr": "LightOnOCR",
        "mistral3": "Mistral 3",
        "paddleocr_vl": "PaddleOCR-VL",
        "pixtral": "Pixtral",
        "qwen2_vl": "Qwen2-VL",
        "qwen2_vl_vision": "Qwen2-VL",
        "qwen2_5_vl": "Qwen2.5-VL",
        "qwen2_5_vl_vision": "Qwen2.5-VL",
        "qwen3_vl": "Qwen3-VL",
        "qwen3_vl_moe": "Qwen3-VL",
        "qwen3_vl_vision": "Qwen3-VL",
        "video_llama_3": "VideoLLaMA 3",
    },
    _OWN_TOWER: {
        "chameleon": "Chameleon",
        "emu3": "Emu3",
        "fast_vlm": "FastVLM",
        "gemma3n": "Gemma 3n",
        "gemma4": "Gemma 4",
        "git": "GIT",
        "idefics": "IDEFICS",
        "janus": "Janus",
        "llama4": "Llama 4",
        "llama4_vision_model": "Llama 4's image tower",
        "mllama": "Llama 3.2 Vision",
        "mllama_vision_model": "Llama 3.2's image tower",
        "molmo2": "Molmo 2",
        "ovis2": "Ovis 2",
        "perception_lm": "PerceptionLM",
        "pix2struct": "Pix2Struct",
        "pix2struct_vision_model": "Pix2Struct",
    },
    _ADAPTED: {
        "deepseek_vl_hybrid": "DeepSeek-VL with two towers",
        "kosmos-2.5": "Kosmos-2.5",
    },
}

UNSUPPORTED: dict[str, tuple[str, str]] = {
    kind: (title, reason) for reason, group in _GROUPS.items() for kind, title in group.items()
}
