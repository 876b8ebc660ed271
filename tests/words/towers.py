"""Small randomised CLIP, SigLIP and SigLIP 2 of transformers, with tokenizers made here."""

from __future__ import annotations

import re
import string
from pathlib import Path
from typing import Any

import numpy as np
import torch
from families import randomise
from tokenizers import Tokenizer, models, pre_tokenizers

from vit_convert.parity.sources.torch_compat import import_vision

import_vision("torchvision")
transformers = import_vision("transformers")

WORDS = [
    "a",
    "photo",
    "of",
    "the",
    "bird",
    "dog",
    "cat",
    "drawing",
    "great",
    "spotted",
    "woodpecker",
    "crane",
]
CONTEXT = 57
# no two of these are equal where they could be confused
IMAGE: dict[str, Any] = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 33,
    "image_size": 16,
    "patch_size": 4,
}
TEXT: dict[str, Any] = {
    "hidden_size": 20,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 27,
    "max_position_embeddings": CONTEXT,
}
KINDS = ("clip", "clip-legacy", "siglip", "siglip2", "siglip2-naflex")


def byte_pairs() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A vocabulary and merges in CLIP's manner: letters, letters that end a word, and words."""
    letters = sorted({*string.ascii_lowercase, *string.digits, *".,'-"})
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    merges: list[tuple[str, str]] = []
    for word in WORDS[1:7]:
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while len(parts) > 1:
            pair = (parts[0], parts[1])
            parts = ["".join(pair), *parts[2:]]
            if pair not in merges:
                merges.append(pair)
                tokens.append(parts[0])
    tokens = [*dict.fromkeys(tokens), "<|startoftext|>", "<|endoftext|>"]
    return {token: index for index, token in enumerate(tokens)}, merges


def clip_tokenizer() -> Any:
    vocab, merges = byte_pairs()
    return transformers.CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=CONTEXT)


def siglip_tokenizer() -> Any:
    """As google/siglip-base-patch16-224's: SentencePiece's unigrams, which end in </s>."""
    pieces = ["<unk>", "</s>", *(f"▁{word}" for word in WORDS), *"abcdefghijklmnopqrstuvwxyz▁"]
    # the sentence's pieces are not the first of their kind by chance: they have different weights
    table = [(piece, -1.0 - 0.01 * index) for index, piece in enumerate(pieces)]
    tokenizer = Tokenizer(models.Unigram(table, unk_id=0, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", eos_token="</s>", pad_token="</s>"
    )


def siglip2_tokenizer() -> Any:
    """As google/siglip2-base-patch16-224's: Gemma's byte pairs."""
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *"abcdefghijklmnopqrstuvwxyz.▁"]
    merges = []
    for word in WORDS[1:7]:
        merged = word[0]
        for letter in word[1:]:
            if (merged, letter) not in merges:
                merges.append((merged, letter))
                pieces.append(merged + letter)
            merged += letter
    vocab = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    return transformers.Siglip2Tokenizer(vocab=vocab, merges=merges, padding_side="right")


def _config(kind: str, tokenizer: Any) -> Any:
    text = TEXT | {"vocab_size": len(tokenizer), "bos_token_id": 0, "pad_token_id": 0}
    text["eos_token_id"] = 1
    if kind.startswith("clip"):
        end = 2 if kind == "clip-legacy" else tokenizer.eos_token_id
        return transformers.CLIPConfig(
            text_config=text | {"eos_token_id": end}, vision_config=dict(IMAGE), projection_dim=15
        )
    if kind == "siglip2-naflex":
        return transformers.Siglip2Config(
            text_config=text | {"projection_size": IMAGE["hidden_size"]},
            vision_config=IMAGE | {"num_patches": 16},
        )
    return transformers.SiglipConfig(
        text_config=text | {"projection_size": IMAGE["hidden_size"]}, vision_config=dict(IMAGE)
    )


def made(kind: str, folder: Path, seed: int = 0) -> tuple[Any, Any]:
    """A model and its tokenizer, saved in a folder."""
    tokenizer = {"clip": clip_tokenizer, "siglip": siglip_tokenizer}.get(
        kind.partition("-")[0], siglip2_tokenizer
    )()
    config = _config(kind, tokenizer)
    cls = {"clip": "CLIPModel", "siglip": "SiglipModel"}.get(kind.partition("-")[0], "SiglipModel")
    if kind == "siglip2-naflex":
        cls = "Siglip2Model"
    model = randomise(getattr(transformers, cls)(config), seed)
    with torch.no_grad():
        model.logit_scale.fill_(3.1)
        if hasattr(model, "logit_bias"):
            model.logit_bias.fill_(-7.3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model, tokenizer


def cleaned(kind: str, texts: list[str]) -> list[str]:
    """What SiglipTokenizer, which needs SentencePiece, does to texts, and the fast one does not:
    lower case, no punctuation, single spaces."""
    if kind != "siglip":
        return texts
    return [" ".join(re.sub(r"[^\w\s]", "", text.lower()).split()) for text in texts]


def token_ids(kind: str, tokenizer: Any, texts: list[str]) -> torch.Tensor:
    """Tokens as transformers makes them, (texts, context); SigLIP's end token is written out."""
    if kind.startswith("clip"):
        found = tokenizer(texts, padding="max_length", max_length=CONTEXT)
    else:
        ended = [f"{text}{tokenizer.eos_token}" for text in cleaned(kind, texts)]
        found = tokenizer(ended, padding="max_length", max_length=CONTEXT, add_special_tokens=False)
    return torch.tensor(np.array(found["input_ids"]))


def text_embeddings(model: Any, ids: torch.Tensor) -> np.ndarray:
    """(texts, dim), not normalised."""
    with torch.inference_mode():
        output = model.get_text_features(input_ids=ids)
    return getattr(output, "pooler_output", output).numpy()
