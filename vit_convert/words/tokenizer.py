"""Texts as tokens, by the tokenizer that lies beside a checkpoint.

CLIP's: a start token, the text, an end token. SigLIP's: the text and an end token, then padding up
to the context, which its text tower reads. Both as transformers' and OpenAI's own do it
(CLIPTokenizer, SiglipTokenizer, Siglip2Tokenizer; clip/simple_tokenizer.py).
"""

from __future__ import annotations

import os
import re
import string
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from vit_convert.checkpoint.inert import printable
from vit_convert.errors import CheckpointError, MissingDependencyError, UsageError
from vit_convert.hf_config.json_reader import read_json
from vit_convert.hf_config.text_towers import Cleaning, open_clip_cleaning
from vit_convert.runtime.limits import TOKENIZER_MEMORY, TOKENIZER_SECONDS, VARIABLE
from vit_convert.runtime.worker_process import Worker, WorkerError

_SHOWN = 60  # characters of a text in an error
_WORKER = "vit_convert.words.tokenizer_worker"
_PATIENCE = 10  # times as long as computing may take; the machine may be busy


@dataclass(frozen=True)
class TextTokenizer:
    """A tokenizer of texts.

    Attributes:
        tokenizer: makes the tokens between those that begin and end a text.
        where: its folder, for messages.
        vocab_size: tokens that the text tower has.
        context_length: tokens of each result.
        start: the token before each text, None for none.
        end: the token behind it.
        pad: fills the rest.
        pad_left: whether padding stands before the text.
        cleaning: what is done to texts first: "lower" for SigLIP 2 as transformers has it,
            "canonical" for SigLIP, "words" for both as open_clip has them.
    """

    tokenizer: TokenizerProcess
    where: str
    vocab_size: int
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
            CheckpointError: the tokenizer fails, or gives tokens that the text tower has not.
        """
        cleaned = [_cleaned(text, self.cleaning) for text in texts]
        found = self.tokenizer.encode(cleaned, self.context_length)
        rows = np.full((len(texts), self.context_length), self.pad, np.int64)
        before = [] if self.start is None else [self.start]
        around = len(before) + 1
        for row, text, (count, ids) in zip(rows, texts, found, strict=True):
            tokens = [*before, *ids, self.end]
            shown = printable(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
            if not ids:
                raise UsageError("leaves no tokens", where=repr(shown), expected="a text of words")
            if {self.start, self.end} & {*ids}:
                raise UsageError(
                    "holds a token that begins or ends texts",
                    where=repr(shown),
                    expected="a text of words",
                )
            if count + around > self.context_length:
                raise UsageError(
                    f"is too long: {count + around} tokens, with those around it",
                    where=repr(shown),
                    expected=f"at most {self.context_length}, the context of the text tower",
                    hint="a shorter name of the class, or a shorter template",
                )
            if self.pad_left:
                row[-len(tokens) :] = tokens
            else:
                row[: len(tokens)] = tokens
        if rows.max(initial=0) >= self.vocab_size:
            raise _another(rows.max(), self.vocab_size, self.where)
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
    tokenizer = TokenizerProcess(folder)
    where = str(folder)
    if tokenizer.size > vocab_size:
        raise _another(tokenizer.size - 1, vocab_size, where)
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
        cleaning = open_clip_cleaning(folder) or ("lower" if gemma else "canonical")
    return TextTokenizer(
        tokenizer,
        where,
        vocab_size,
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


def _another(token: int, vocab_size: int, where: str) -> CheckpointError:
    return CheckpointError(
        f"its tokenizer has a token {token:,}, and the text tower {vocab_size:,} tokens",
        where=where,
        expected="the tokenizer that was saved with the checkpoint",
    )


class TokenizerProcess:
    """A folder's tokenizer, in a process that is ended when it takes too long or too much memory.

    Args:
        folder: with the tokenizer's files.

    Raises:
        MissingDependencyError: the library `tokenizers` is not installed.
        CheckpointError: there is no tokenizer, or it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        if find_spec("tokenizers") is None:
            raise MissingDependencyError(
                "the library tokenizers makes tokens of texts, and is not installed",
                hint='pip install "vit-convert[text]"',
            )
        self._where = str(folder)
        # one thread: each more would count as memory
        self._worker = Worker(_WORKER, {**os.environ, "TOKENIZERS_PARALLELISM": "false"})
        self._end = weakref.finalize(self, self._worker.kill)
        self.size: int = self._ask("read", self._where)

    def token_to_id(self, token: str) -> int | None:
        """A token's number; None where there is no such token."""
        found: list[int | None] = self._ask("ids", [token])
        return found[0]

    def encode(self, texts: Sequence[str], most: int) -> list[tuple[int, list[int]]]:
        """Of each text how many tokens it has, and the first `most` of them.

        Raises:
            CheckpointError: the tokenizer fails, or does not come to an end.
        """
        found: list[tuple[int, list[int]]] = self._ask(
            "encode", (list(texts), most), sum(map(len, texts))
        )
        return found

    def _ask(self, verb: str, argument: Any, size: int = 0) -> Any:
        seconds = max(1, TOKENIZER_SECONDS.allowed(size))
        try:
            return self._worker.ask(verb, argument, _PATIENCE * seconds)
        except WorkerError as error:
            self._end()
            limits = (TOKENIZER_SECONDS, TOKENIZER_MEMORY)
            stated = ",".join(f"{limit.name}={10 * limit.allowed()}" for limit in limits)
            raise CheckpointError(
                "its tokenizer does not come to an end, or takes too much memory",
                where=self._where,
                expected=f"one within the limits {' and '.join(f'`{i.name}`' for i in limits)}: "
                f"{limits[0].allowed()} seconds, {limits[1].allowed():,} bytes",
                hint=f"if you trust it, set {VARIABLE}={stated}",
            ) from error


def _cleaned(text: str, cleaning: Cleaning) -> str:
    if cleaning == "none":
        return text
    text = text.lower()
    if cleaning == "lower":
        return text
    if cleaning == "words":
        text = text.replace("_", " ")
    # SiglipTokenizer.canonicalize_text, and open_clip's function of that name
    text = text.translate(str.maketrans("", "", string.punctuation))
    return re.sub(r"\s+", " ", text).strip()
