"""Small randomised models of transformers that hold an image tower, and naming schemes of their own
that only transformers has, for `schemes`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from families import randomise

from vit_convert.parity.sources.torch_compat import import_vision

import_vision("torchvision")
transformers = import_vision("transformers")

DIM, HEADS, HIDDEN, CLASSES, DEPTH, SIZE, PATCH = 12, 3, 20, 5, 2, 16, 4
HF: dict[str, Any] = {
    "hidden_size": DIM,
    "num_hidden_layers": DEPTH,
    "num_attention_heads": HEADS,
    "intermediate_size": HIDDEN,
    "image_size": SIZE,
    "patch_size": PATCH,
}
# a language model's, of one small layer
TEXT: dict[str, Any] = {
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 10,
    "vocab_size": 11,
}
_LLAMA = TEXT | {"num_key_value_heads": 1, "head_dim": 4}

Images = torch.Tensor
Forward = Callable[[Images], torch.Tensor]
Saved = tuple[Path, Forward]
Save = Callable[[Path], Saved]


def _config(name: str, **values: Any) -> Any:
    return getattr(transformers, f"{name}Config")(**values)


def _saved(
    make: Callable[[], Any], forward: Callable[[Any, Images], torch.Tensor], memory: bool = False
) -> Save:
    """A model, saved by save_pretrained or as its state dict, and what of it the tower gives."""

    def save(folder: Path) -> Saved:
        model = randomise(make()).eval()
        path = folder
        if memory:
            path = folder / "pytorch_model.bin"
            torch.save({k: v.clone() for k, v in model.state_dict().items()}, path)
            model.config.save_pretrained(folder)
        else:
            model.save_pretrained(folder)
        return path, lambda x: forward(model, x)

    return save


def _vision(name: str, **changes: Any) -> Any:
    return _config(name, **HF | changes)


def _clip_of(whole: str, **options: Any) -> Any:
    return _config(whole, vision_config=dict(HF), text_config=dict(TEXT), **options)


def _whole(name: str, vision_config: Any, text: str = "Llama", **options: Any) -> Any:
    return _config(
        name, vision_config=vision_config, text_config=_config(text, **_LLAMA), **options
    )


def _make(model: str, config: Callable[[], Any]) -> Callable[[], Any]:
    return lambda: getattr(transformers, model)(config())


def _tokens(tower: Callable[[Any], Any]) -> Callable[[Any, Images], torch.Tensor]:
    return lambda model, x: tower(model)(x).last_hidden_state


def _pooled(tower: Callable[[Any], Any]) -> Callable[[Any, Images], torch.Tensor]:
    return lambda model, x: tower(model)(x).pooler_output


def _first(tower: Callable[[Any], Any]) -> Callable[[Any, Images], torch.Tensor]:
    return lambda model, x: tower(model)(x).last_hidden_state[:, 0]


def _mean(tower: Callable[[Any], Any], skip: int = 0) -> Callable[[Any, Images], torch.Tensor]:
    return lambda model, x: tower(model)(x).last_hidden_state[:, skip:].mean(dim=1)


def _logits(model: Any, x: Images) -> torch.Tensor:
    return model(x).logits


def _naflex(images: Images) -> dict[str, torch.Tensor]:
    """Pictures cut into patches, as Siglip2ImageProcessor does it."""
    from transformers.models.siglip2.image_processing_siglip2 import convert_image_to_patches

    grid = SIZE // PATCH
    return {
        "pixel_values": torch.stack([convert_image_to_patches(i, PATCH) for i in images]),
        "pixel_attention_mask": torch.ones(len(images), grid**2, dtype=torch.int64),
        "spatial_shapes": torch.tensor([[grid, grid]] * len(images)),
    }


def _masked(model: Any, x: Images) -> torch.Tensor:
    return model.layernorm(model.beit(x).last_hidden_state)[:, 1:].mean(dim=1)


def _idefics2() -> Any:
    perceiver = {
        "hidden_size": 8,
        "resampler_n_latents": 3,
        "resampler_depth": 1,
        "resampler_n_heads": 2,
        "num_key_value_heads": 1,
        "resampler_head_dim": 4,
    }
    return _whole("Idefics2", dict(HF), "Mistral", perceiver_config=perceiver)


def _blip_2(name: str = "Blip2") -> Any:
    text = _config("OPT", hidden_size=8, ffn_dim=10, num_hidden_layers=1, num_attention_heads=2,
                   vocab_size=11, word_embed_proj_dim=8)  # fmt: skip
    return _config(
        name,
        vision_config=dict(HF),
        qformer_config=TEXT | {"encoder_hidden_size": DIM},
        text_config=text,
        num_query_tokens=3,
    )


def _encoder_decoder(encoder: str, **changes: Any) -> Any:
    decoder = _config("TrOCR", d_model=8, decoder_layers=1, decoder_attention_heads=2,
                      decoder_ffn_dim=10, vocab_size=11, cross_attention_hidden_size=DIM,
                      max_position_embeddings=9)  # fmt: skip
    return transformers.VisionEncoderDecoderModel(
        encoder=getattr(transformers, f"{encoder}Model")(_vision(encoder, **changes)),
        decoder=transformers.TrOCRForCausalLM(decoder),
    )


def _dual() -> Any:
    bert = TEXT | {"max_position_embeddings": 9}
    return transformers.VisionTextDualEncoderModel(
        vision_model=transformers.ViTModel(_vision("ViT")),
        text_model=transformers.BertModel(_config("Bert", **bert)),
    )


def _internvl(**changes: Any) -> Any:
    sizes = {"image_size": [SIZE, SIZE], "patch_size": [PATCH, PATCH]}
    return _whole("InternVL", _vision("InternVLVision", **sizes, **changes), "Qwen2")


def _of_model(model: Any) -> Any:
    return model.model.vision_tower


_BEIT_TABLE = {"use_shared_relative_position_bias": True}
_TO_LABELS = {"num_labels": CLASSES}
_WITHOUT_HEAD = {"vision_use_head": False}

# what it is, its dialect, how it is saved, and how many tensors of its file are ignored
SOURCES: tuple[tuple[str, str, Save, int], ...] = (
    (
        "IJepaForImageClassification",
        "transformers-ijepa",
        _saved(
            _make("IJepaForImageClassification", lambda: _vision("IJepa", **_TO_LABELS)), _logits
        ),
        0,
    ),
    (
        "IJepaModel",
        "transformers-ijepa",
        _saved(_make("IJepaModel", lambda: _vision("IJepa")), _mean(lambda m: m)),
        0,
    ),
    (
        "I-JEPA, in memory",
        "transformers-ijepa-5",
        _saved(
            _make("IJepaForImageClassification", lambda: _vision("IJepa", **_TO_LABELS)),
            _logits,
            memory=True,
        ),
        0,
    ),
    (
        "ViTMSNForImageClassification",
        "transformers-vit-msn",
        _saved(
            _make("ViTMSNForImageClassification", lambda: _vision("ViTMSN", **_TO_LABELS)), _logits
        ),
        0,
    ),
    (
        "ViTMSNModel",
        "transformers-vit",
        _saved(_make("ViTMSNModel", lambda: _vision("ViTMSN")), _first(lambda m: m)),
        0,
    ),
    (
        "ViTMSN, in memory",
        "transformers-vit-5",
        _saved(
            _make("ViTMSNForImageClassification", lambda: _vision("ViTMSN", **_TO_LABELS)),
            _logits,
            memory=True,
        ),
        0,
    ),
    (
        "DeiTForImageClassification",
        "transformers-deit-single",
        _saved(_make("DeiTForImageClassification", lambda: _vision("DeiT", **_TO_LABELS)), _logits),
        0,
    ),
    (
        "DeiTForImageClassification, in memory",
        "transformers-deit-single-5",
        _saved(
            _make("DeiTForImageClassification", lambda: _vision("DeiT", **_TO_LABELS)),
            _logits,
            memory=True,
        ),
        0,
    ),
    (
        "DeiTModel",
        "transformers-deit",
        _saved(
            _make("DeiTModel", lambda: _vision("DeiT")),
            lambda m, x: m(x).last_hidden_state[:, :2].mean(dim=1),
        ),
        2,
    ),
    (
        "Data2VecVisionForImageClassification",
        "transformers-beit",
        _saved(
            _make(
                "Data2VecVisionForImageClassification",
                lambda: _vision("Data2VecVision", use_relative_position_bias=True, **_TO_LABELS),
            ),
            _logits,
        ),
        0,
    ),
    (
        "Data2VecVisionModel",
        "transformers-beit",
        _saved(
            _make(
                "Data2VecVisionModel",
                lambda: _vision(
                    "Data2VecVision", use_absolute_position_embeddings=True, use_mean_pooling=False
                ),
            ),
            _first(lambda m: m),
        ),
        0,
    ),
    (
        "BeitForMaskedImageModeling",
        "transformers-beit-masked",
        _saved(
            _make(
                "BeitForMaskedImageModeling",
                lambda: _vision("Beit", vocab_size=11, use_mask_token=True, **_BEIT_TABLE),
            ),
            _masked,
        ),
        3,
    ),
    (
        "BeitForMaskedImageModeling, in memory",
        "transformers-beit-masked-5",
        _saved(
            _make(
                "BeitForMaskedImageModeling",
                lambda: _vision("Beit", vocab_size=11, **_BEIT_TABLE),
            ),
            _masked,
            memory=True,
        ),
        2,
    ),
    (
        "CLIPForImageClassification",
        "transformers-clip-classifier",
        _saved(
            _make("CLIPForImageClassification", lambda: _clip_of("CLIP", **_TO_LABELS)), _logits
        ),
        2,
    ),
    (
        "CLIPModel",
        "transformers-clip",
        _saved(
            _make("CLIPModel", lambda: _clip_of("CLIP", projection_dim=7)),
            lambda m, x: m.get_image_features(x).pooler_output,
        ),
        22,
    ),
    (
        "ChineseCLIPModel",
        "transformers-clip",
        _saved(
            _make("ChineseCLIPModel", lambda: _clip_of("ChineseCLIP", projection_dim=7)),
            lambda m, x: m.get_image_features(x).pooler_output,
        ),
        23,
    ),
    (
        "AltCLIPModel, in memory",
        "transformers-clip",
        _saved(
            _make("AltCLIPModel", lambda: _clip_of("AltCLIP", projection_dim=7)),
            lambda m, x: m.get_image_features(x).pooler_output,
            memory=True,
        ),
        27,
    ),
    (
        "CLIPSegForImageSegmentation",
        "transformers-clip",
        _saved(
            _make(
                "CLIPSegForImageSegmentation",
                lambda: _clip_of(
                    "CLIPSeg",
                    projection_dim=7,
                    extract_layers=[0],
                    reduce_dim=4,
                    decoder_intermediate_size=6,
                ),
            ),
            lambda m, x: m.clip.get_image_features(x).pooler_output,
        ),
        46,
    ),
    (
        "SiglipForImageClassification",
        "transformers-siglip-avg",
        _saved(
            _make("SiglipForImageClassification", lambda: _clip_of("Siglip", **_TO_LABELS)), _logits
        ),
        11,
    ),
    (
        "Siglip2ForImageClassification",
        "transformers-siglip2-avg",
        _saved(
            _make(
                "Siglip2ForImageClassification",
                lambda: _config(
                    "Siglip2",
                    vision_config=HF | {"num_patches": 16},
                    text_config=dict(TEXT),
                    **_TO_LABELS,
                ),
            ),
            lambda m, x: m(**_naflex(x)).logits,
        ),
        11,
    ),
    (
        "Siglip2VisionModel",
        "transformers-siglip2",
        _saved(
            _make("Siglip2VisionModel", lambda: _vision("Siglip2Vision", num_patches=16)),
            lambda m, x: m(**_naflex(x)).pooler_output,
        ),
        0,
    ),
    (
        "LLaVA with CLIP",
        "transformers-clip",
        _saved(
            _make("LlavaForConditionalGeneration", lambda: _whole("Llava", _vision("CLIPVision"))),
            _pooled(_of_model),
        ),
        16,
    ),
    (
        "LLaVA with CLIP, in memory",
        "transformers-clip",
        _saved(
            _make("LlavaForConditionalGeneration", lambda: _whole("Llava", _vision("CLIPVision"))),
            _pooled(_of_model),
            memory=True,
        ),
        16,
    ),
    (
        "LLaVA-NeXT with SigLIP",
        "transformers-siglip",
        _saved(
            _make(
                "LlavaNextForConditionalGeneration",
                lambda: _whole("LlavaNext", _vision("SiglipVision")),
            ),
            _pooled(_of_model),
        ),
        17,
    ),
    (
        "PaliGemma",
        "transformers-siglip-avg",
        _saved(
            _make(
                "PaliGemmaForConditionalGeneration",
                lambda: _whole(
                    "PaliGemma", _vision("SiglipVision", **_WITHOUT_HEAD), "Gemma", projection_dim=8
                ),
            ),
            _mean(_of_model),
        ),
        13,
    ),
    (
        "SmolVLM",
        "transformers-siglip-avg",
        _saved(
            _make(
                "SmolVLMForConditionalGeneration",
                lambda: _whole("SmolVLM", dict(HF), scale_factor=2),
            ),
            _mean(lambda m: m.model.vision_model),
        ),
        13,
    ),
    (
        "Idefics3",
        "transformers-siglip-avg",
        _saved(
            _make(
                "Idefics3ForConditionalGeneration",
                lambda: _whole("Idefics3", dict(HF), scale_factor=2),
            ),
            _mean(lambda m: m.model.vision_model),
        ),
        13,
    ),
    (
        "Idefics2",
        "transformers-siglip-avg",
        _saved(
            _make("Idefics2ForConditionalGeneration", _idefics2),
            _mean(lambda m: m.model.vision_model),
        ),
        27,
    ),
    (
        "Gemma 3",
        "transformers-siglip-avg",
        _saved(
            _make(
                "Gemma3ForConditionalGeneration",
                lambda: _whole(
                    "Gemma3",
                    _vision("SiglipVision", **_WITHOUT_HEAD),
                    "Gemma3Text",
                    mm_tokens_per_image=4,
                ),
            ),
            _mean(_of_model),
        ),
        17,
    ),
    (
        "InstructBLIP",
        "transformers-blip",
        _saved(
            _make("InstructBlipForConditionalGeneration", lambda: _blip_2("InstructBlip")),
            _first(lambda m: m.vision_model),
        ),
        59,
    ),
    (
        "BLIP for captions",
        "transformers-blip",
        _saved(
            _make(
                "BlipForConditionalGeneration",
                lambda: _config(
                    "Blip",
                    vision_config=dict(HF),
                    text_config=TEXT | {"encoder_hidden_size": DIM},
                ),
            ),
            _first(lambda m: m.vision_model),
        ),
        35,
    ),
    (
        "BLIP-2",
        "transformers-blip",
        _saved(_make("Blip2ForConditionalGeneration", _blip_2), _first(lambda m: m.vision_model)),
        51,
    ),
    (
        "OWL-ViT",
        "transformers-owlvit",
        _saved(
            _make("OwlViTForObjectDetection", lambda: _clip_of("OwlViT", projection_dim=8)),
            lambda m, x: m.owlvit.get_image_features(x).pooler_output,
        ),
        36,
    ),
    (
        "OWLv2",
        "transformers-owlvit",
        _saved(
            _make("Owlv2ForObjectDetection", lambda: _clip_of("Owlv2", projection_dim=8)),
            lambda m, x: m.owlv2.get_image_features(x).pooler_output,
        ),
        42,
    ),
    (
        "TrOCR with ViT",
        "transformers-vit",
        _saved(lambda: _encoder_decoder("ViT"), _first(lambda m: m.encoder)),
        32,
    ),
    (
        "TrOCR with DeiT, in memory",
        "transformers-deit-5",
        _saved(
            lambda: _encoder_decoder("DeiT"),
            lambda m, x: m.encoder(x).last_hidden_state[:, :2].mean(dim=1),
            memory=True,
        ),
        33,
    ),
    (
        "an encoder-decoder with BEiT",
        "transformers-beit",
        _saved(
            lambda: _encoder_decoder("Beit", use_relative_position_bias=True),
            _pooled(lambda m: m.encoder),
        ),
        30,
    ),
    (
        "an encoder-decoder with DINOv2, in memory",
        "transformers-dinov2-5",
        _saved(
            lambda: _encoder_decoder("Dinov2", mlp_ratio=2),
            _first(lambda m: m.encoder),
            memory=True,
        ),
        32,
    ),
    (
        "VisionTextDualEncoder",
        "transformers-vit",
        _saved(_dual, _first(lambda m: m.vision_model)),
        28,
    ),
    (
        "InternVL",
        "transformers-internvl",
        _saved(_make("InternVLForConditionalGeneration", _internvl), _mean(_of_model, skip=1)),
        20,
    ),
    (
        "InternVL with a norm, in memory",
        "transformers-internvl",
        _saved(
            _make(
                "InternVLForConditionalGeneration",
                lambda: _internvl(use_mean_pooling=False, attention_bias=True),
            ),
            _first(_of_model),
            memory=True,
        ),
        21,
    ),
    (
        "VipLLaVA",
        "transformers-clip",
        _saved(
            _make(
                "VipLlavaForConditionalGeneration",
                lambda: _whole("VipLlava", _vision("CLIPVision"), vision_feature_layers=[1, 2]),
            ),
            _pooled(_of_model),
        ),
        18,
    ),
    (
        "Aimv2VisionModel",
        "transformers-aimv2",
        _saved(
            _make("Aimv2VisionModel", lambda: _vision("Aimv2Vision", use_head=False)),
            _mean(lambda m: m),
        ),
        0,
    ),
    (
        "Aimv2VisionModel, with biases",
        "transformers-aimv2",
        _saved(
            _make(
                "Aimv2VisionModel",
                lambda: _vision("Aimv2Vision", use_head=False, mlp_bias=True, qkv_bias=True),
            ),
            _mean(lambda m: m),
            memory=True,
        ),
        0,
    ),
)
