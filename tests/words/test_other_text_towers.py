"""MetaCLIP 2, which is a CLIP with other tokens; and text towers that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from families import randomise
from tokenizers import Tokenizer, models, pre_tokenizers
from words.towers import CONTEXT, IMAGE, TEXT, WORDS, transformers

import vit_convert
from vit_convert.conversion.h5_file import open_keras
from vit_convert.errors import VitConvertError

CLASSES = ["bird", "great crane", "Cat"]


def xlm_tokenizer() -> Any:
    """As XLM-V's, which MetaCLIP 2 has: <s>, unigrams, </s>, whose number is 2 and not the last."""
    pieces = ["<s>", "<pad>", "</s>", "<unk>", *(f"▁{word}" for word in WORDS), *"abcgit▁"]
    table = [(piece, -1.0 - 0.01 * index) for index, piece in enumerate(pieces)]
    tokenizer = Tokenizer(models.Unigram(table, unk_id=3, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
    )


def test_metaclip_2_reads_the_first_end_token(tmp_path: Path) -> None:
    tokenizer = xlm_tokenizer()
    ends = {"vocab_size": len(tokenizer), "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
    config = transformers.MetaClip2Config(
        text_config=TEXT | ends, vision_config=dict(IMAGE), projection_dim=15
    )
    model = randomise(transformers.MetaClip2Model(config))
    with torch.no_grad():
        model.logit_scale.fill_(3.1)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    texts = [f"<s>a photo of a {name}.</s>" for name in CLASSES]
    padded = {"padding": "max_length", "max_length": CONTEXT, "add_special_tokens": False}
    ids = torch.tensor(tokenizer(texts, **padded)["input_ids"])
    with torch.inference_mode():
        output = model.get_text_features(input_ids=ids)
    features = getattr(output, "pooler_output", output).numpy().astype(np.float64)
    expected = np.exp(3.1) * features / np.linalg.norm(features, axis=1, keepdims=True)
    vit_convert.zero_shot(tmp_path, CLASSES, tmp_path / "words.h5")
    with open_keras(tmp_path / "words.h5") as (spec, weights):
        head = weights["head.weight"].read()
        assert spec.config.num_classes == len(CLASSES)
    assert np.abs(head - expected).max() < 1e-5 * np.abs(expected).max()
    assert vit_convert.verify(tmp_path / "words.h5", source=tmp_path).comparison.passed


@pytest.mark.parametrize("kind", ["AltCLIP", "ChineseCLIP"])
def test_other_text_towers_are_refused_by_name(kind: str, tmp_path: Path) -> None:
    text = {name: value for name, value in TEXT.items() if name != "max_position_embeddings"}
    config = getattr(transformers, f"{kind}Config")(
        text_config=text | {"vocab_size": 31, "max_position_embeddings": CONTEXT},
        vision_config=dict(IMAGE),
        projection_dim=15,
    )
    randomise(getattr(transformers, f"{kind}Model")(config)).save_pretrained(tmp_path)
    xlm_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(VitConvertError, match=kind.lower().replace("chinese", "chinese_")):
        vit_convert.zero_shot(tmp_path, CLASSES, tmp_path / "words.h5")
    assert not (tmp_path / "words.h5").exists()
