"""Texts as tokens, by the tokenizer that lies beside a checkpoint.

CLIP's: a start token, the text, an end token. SigLIP's: the text and an end token, then padding up
to the context, which its text tower reads. Both as transformers' and OpenAI's own do it
(CLIPTokenizer, SiglipTokenizer, Siglip2Tokenizer; clip/simple_tokenizer.py).
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from vit_convert.checkpoint.inert import printable
from vit_convert.errors import CheckpointError, MissingDependencyError, UsageError
from vit_convert.hf_config.json_reader import read_json
from vit_convert.runtime.input_file import read_input
from vit_convert.runtime.limits import TOKENIZER_BYTES

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_SHOWN = 60  # characters of a text in an error
Cleaning = Literal["none", "lower", "canonical"]
# CLIPTokenizer's pre-tokenizer, after clip/simple_tokenizer.py
_CLIP_WORDS = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)
_FILES = "tokenizer.json, or vocab.json and merges.txt (CLIP's)"
_HINT = (
    'with transformers: AutoTokenizer.from_pretrained("ID").save_pretrained("FOLDER"), ID being '
    "the published model's"
)


@dataclass(frozen=True)
class TextTokenizer:
    """A tokenizer of texts.

    Attributes:
        encode_one: a text -> its tokens, without any around them.
        context_length: tokens of each result.
        start: the token before each text, None for none.
        end: the token behind it.
        pad: fills the rest.
        pad_left: whether padding stands before the text.
        cleaning: what is done to texts first: nothing; "lower" (SigLIP 2's); or "canonical"
            (SigLIP's: lower case, without punctuation, with single spaces).
    """

    tokenizer: Tokenizer
    context_length: int
    start: int | None
    end: int
    pad: int
    pad_left: bool = False
    cleaning: Cleaning = "none"

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Tokens of texts, (texts, context_length) int64.

        Raises:
            UsageError: a text has more tokens than there are positions, none, or holds a token that
                has a meaning of its own.
        """
        cleaned = [_cleaned(text, self.cleaning) for text in texts]
        found = self.tokenizer.encode_batch(cleaned, add_special_tokens=False)
        rows = np.full((len(texts), self.context_length), self.pad, np.int64)
        before = [] if self.start is None else [self.start]
        for row, text, encoding in zip(rows, texts, found, strict=True):
            tokens = [*before, *encoding.ids, self.end]
            shown = printable(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
            if not encoding.ids:
                raise UsageError("leaves no tokens", where=repr(shown), expected="a text of words")
            if {self.start, self.end} & {*encoding.ids}:
                raise UsageError(
                    "holds a token that begins or ends texts",
                    where=repr(shown),
                    expected="a text of words",
                )
            if len(tokens) > self.context_length:
                raise UsageError(
                    f"is too long: {len(tokens)} tokens, with those around it",
                    where=repr(shown),
                    expected=f"at most {self.context_length}, the context of the text tower",
                    hint="a shorter name of the class, or a shorter template",
                )
            if self.pad_left:
                row[-len(tokens) :] = tokens
            else:
                row[: len(tokens)] = tokens
        return rows


def read_tokenizer(
    folder: Path, context_length: int, vocab_size: int, siglip: bool
) -> TextTokenizer:
    """The tokenizer of a checkpoint's folder.

    Args:
        folder: the checkpoint's.
        context_length: of the text tower.
        vocab_size: of the text tower; the tokenizer must have no tokens beyond.
        siglip: whether texts are prepared as SigLIP's.

    Raises:
        MissingDependencyError: the library `tokenizers` is not installed.
        CheckpointError: there is no tokenizer, or it cannot be read, or is another model's.
    """
    config = read_json(folder / "tokenizer_config.json") or {}
    special = {**(read_json(folder / "special_tokens_map.json") or {}), **config}
    tokenizer = _read(folder)
    where = str(folder)
    size = tokenizer.get_vocab_size(with_added_tokens=True)
    if size > vocab_size:
        raise CheckpointError(
            f"its tokenizer has {size:,} tokens, and the text tower {vocab_size:,}",
            where=where,
            expected="the tokenizer that was saved with the checkpoint",
        )
    gemma = tokenizer.token_to_id("<eos>") is not None  # SigLIP 2's vocabulary
    names = _SIGLIP_2 if gemma else _SIGLIP
    if not siglip:
        names = _CLIP
    ids = {}
    for kind, usual in names.items():
        name = _name_of(special.get(kind), usual)
        found = tokenizer.token_to_id(name)
        if found is None:
            raise CheckpointError(
                f"its tokenizer has no token {printable(name)!r} ({kind})",
                where=where,
                expected="the tokenizer that was saved with the checkpoint",
            )
        ids[kind] = found
    cleaning: Cleaning = "none"
    if siglip:
        cleaning = "lower" if gemma else "canonical"
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return TextTokenizer(
        tokenizer,
        context_length,
        ids.get("bos_token"),
        ids["eos_token"],
        ids.get("pad_token", ids["eos_token"]),  # CLIP's text tower does not see what pads
        siglip and config.get("padding_side") == "left",
        cleaning,
    )


# what a key of tokenizer_config.json means where it is left out: transformers' CLIPTokenizer,
# SiglipTokenizer and Siglip2Tokenizer
_CLIP = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>"}
_SIGLIP = {"eos_token": "</s>", "pad_token": "</s>"}
_SIGLIP_2 = {"eos_token": "<eos>", "pad_token": "<pad>"}


def _name_of(stated: Any, usual: str) -> str:
    """A special token's text, which may stand in a table."""
    if isinstance(stated, dict):
        stated = stated.get("content")
    return stated if isinstance(stated, str) and stated else usual


def _read(folder: Path) -> Tokenizer:
    """The tokenizer of a folder's files."""
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingDependencyError(
            "the library tokenizers makes tokens of texts, and is not installed",
            hint='pip install "vit-convert[text]"',
        ) from error
    path, vocabulary, merges = (
        folder / name for name in ("tokenizer.json", "vocab.json", "merges.txt")
    )
    if path.is_file():
        try:
            return Tokenizer.from_str(_text(path))
        except CheckpointError:
            raise
        except Exception as error:  # what tokenizers raises for a file that is none
            raise _wrong(path, f"is no tokenizer: {error}") from error
    if vocabulary.is_file() and merges.is_file():
        return _byte_pairs(vocabulary, merges)
    sentences = [name for name in ("spiece.model", "tokenizer.model") if (folder / name).is_file()]
    raise CheckpointError(
        f"there is no tokenizer in it{f', but {sentences[0]}' if sentences else ''}",
        where=str(folder),
        expected=_FILES,
        hint=_HINT,
    )


def _byte_pairs(vocabulary: Path, merges: Path) -> Tokenizer:
    """CLIP's byte pair encoding, of its two files."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    try:
        table = json.loads(_text(vocabulary))
        lines = [line for line in _text(merges).split("\n") if line and line[:9] != "#version:"]
        model = models.BPE(
            vocab=table,
            merges=[(first, second) for first, second in map(str.split, lines)],
            end_of_word_suffix="</w>",
            unk_token="<|endoftext|>",
        )
    except CheckpointError:
        raise
    except Exception as error:  # of json, or of tokenizers
        raise _wrong(vocabulary, f"with {merges.name} is no tokenizer: {error}") from error
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_CLIP_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    return tokenizer


def _text(path: Path) -> str:
    try:
        return read_input(path, TOKENIZER_BYTES).decode()
    except OSError as error:
        raise _wrong(path, f"cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise _wrong(path, "is not UTF-8 text") from error


def _wrong(path: Path, problem: str) -> CheckpointError:
    return CheckpointError(problem, where=str(path), expected=_FILES, hint=_HINT)


def _cleaned(text: str, cleaning: Cleaning) -> str:
    if cleaning == "none":
        return text
    text = text.lower()
    if cleaning == "lower":
        return text
    # SiglipTokenizer.canonicalize_text
    text = text.translate(str.maketrans("", "", string.punctuation))
    return re.sub(r"\s+", " ", text).strip()
