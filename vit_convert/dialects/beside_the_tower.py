"""Tensors that stand beside an image tower in larger checkpoints, and why each is left out.

Each pattern is the module of one class of transformers or open_clip, never a tower's own: what
nobody named is an error, not left out. Names are those of files and of transformers 5's memory.
"""

from __future__ import annotations

from vit_convert.dialects.rules import Ignore

TEXT = "the text tower's: an image model does not need it"
_LANGUAGE = "the language model's: an image model does not need it"
_CONNECTOR = "fits image tokens to the language model, which is left out"
_DECODER = "a decoder's, of masked pre-training or of text: an image model does not need it"
_DEPTH = "the neck and the head that estimate depth from several blocks' tokens"
_COMPARISON = "compares images and texts: an image model does not need it"
_DETECTION = "finds objects, at every patch: an image model does not need it"


def _modules(reason: str, *names: str) -> tuple[Ignore, ...]:
    return tuple(Ignore(f"{name}.{{rest}}", reason) for name in names)


# of a model that reads images and texts, such as CLIP
TEXT_TOWER = (
    *_modules(TEXT, "text_model"),
    Ignore("text_projection.weight", TEXT),
    Ignore("text_projection.bias", TEXT),
    Ignore("logit_scale", "scales similarities of images and texts"),
    Ignore("logit_bias", "shifts similarities of images and texts"),
)

# of a model that reads images and writes texts, such as LLaVA
LANGUAGE_MODEL = (
    *_modules(_LANGUAGE, "language_model", "model.language_model", "lm_head"),
    *_modules(_CONNECTOR, "multi_modal_projector", "model.multi_modal_projector", "connector"),
    Ignore("image_newline", _CONNECTOR),
    Ignore("model.image_newline", _CONNECTOR),
)

# of BLIP and BLIP-2
TEXT_DECODERS = (
    *_modules(_LANGUAGE, "text_decoder", "language_model", "language_projection"),
    *_modules(TEXT, "text_encoder", "text_model", "text_projection", "text_proj"),
    *_modules(TEXT, "embeddings.word_embeddings", "embeddings.position_embeddings"),
    *_modules("the Q-Former's, which reads the image tokens", "qformer"),
    Ignore("query_tokens", "the Q-Former's queries"),
    *_modules(_COMPARISON, "itm_head", "vision_proj", "vision_projection", "visual_projection"),
    Ignore("logit_scale", "scales similarities of images and texts"),
)

# of a VisionEncoderDecoderModel, such as TrOCR; and of ViTMAE
DECODER = (
    *_modules(_DECODER, "decoder"),
    *_modules("fits image tokens to the decoder, which is left out", "enc_to_dec_proj"),
)

# of a DPT for segmentation
DEPTH_HEAD = (
    *_modules(_DEPTH, "neck", "head.head"),
    *_modules("the auxiliary head of training", "auxiliary_head.head"),
)

# of OWL-ViT and OWLv2
DETECTION_HEADS = (
    *_modules(_DETECTION, "box_head", "class_head", "objectness_head"),
    Ignore("layer_norm.{leaf}", _DETECTION),
)

# of open_clip's CLIP (src/open_clip/model.py) and CustomTextCLIP, whose text tower is `text`
OPEN_CLIP = (
    *_modules(TEXT, "text", "transformer", "ln_final"),
    Ignore("token_embedding.weight", TEXT),
    Ignore("positional_embedding", TEXT),
    Ignore("text_projection", TEXT),
    Ignore("text_projection.{leaf}", TEXT),
    Ignore("attn_mask", TEXT),
    Ignore("logit_scale", "scales similarities of images and texts"),
    Ignore("logit_bias", "shifts similarities of images and texts"),
)
