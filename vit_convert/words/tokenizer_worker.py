"""The process in which the library `tokenizers` works on files of somebody else: `python -m` of it
is a worker.

The library is native code that does what a tokenizer.json says. A regular expression there can take
for ever on a short text, what is to be put in place of a letter can be gigabytes, and what nobody
thought of ends in a panic of Rust's, which is no `Exception`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from vit_convert.errors import CheckpointError, VitConvertError
from vit_convert.runtime.input_file import read_input
from vit_convert.runtime.limits import TOKENIZER_BYTES, TOKENIZER_MEMORY, TOKENIZER_SECONDS
from vit_convert.runtime.worker_process import limit_process, serve

_BATCH = 1000  # texts at a time: what the library says of each takes kilobytes
# CLIPTokenizer's pre-tokenizer, after clip/simple_tokenizer.py
_CLIP_WORDS = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)
_FILES = "tokenizer.json, or vocab.json and merges.txt (CLIP's)"
_HINT = (
    'with transformers: AutoTokenizer.from_pretrained("ID").save_pretrained("FOLDER"), ID being '
    "the published model's"
)
Tokens = tuple[int, list[int]]


class Tokenizing:
    """What the process does."""

    tokenizer: Tokenizer

    def read(self, folder: str) -> int:
        """Folder -> how many tokens its tokenizer has, those that were added included.

        Raises:
            CheckpointError: there is no tokenizer, or it cannot be read.
        """
        path, vocabulary, merges = (
            Path(folder, name) for name in ("tokenizer.json", "vocab.json", "merges.txt")
        )
        if path.is_file():
            content = _text(path)
            _limit(len(content))
            with _failing(path, "is no tokenizer"):
                self.tokenizer = Tokenizer.from_str(content)
        elif vocabulary.is_file() and merges.is_file():
            self.tokenizer = _byte_pairs(vocabulary, merges)
        else:
            raise _missing(Path(folder))
        self.where = path if path.is_file() else vocabulary
        with _failing(self.where, "is no tokenizer"):
            self.tokenizer.no_padding()
            self.tokenizer.no_truncation()
            return self.tokenizer.get_vocab_size(with_added_tokens=True)

    def ids(self, tokens: Sequence[str]) -> list[int | None]:
        """Tokens -> their numbers."""
        with _failing(self.where, "cannot find tokens"):
            return [self.tokenizer.token_to_id(token) for token in tokens]

    def encode(self, request: tuple[Sequence[str], int]) -> list[Tokens]:
        """(Texts, how many tokens are of use) -> of each text how many tokens it has, without any
        around them, and the first of these.

        Raises:
            CheckpointError: the tokenizer fails.
        """
        texts, most = request
        seconds = TOKENIZER_SECONDS.allowed(sum(map(len, texts)))
        limit_process(seconds, TOKENIZER_MEMORY.allowed())
        found = []
        with _failing(self.where, "fails to make tokens of texts"):
            for start in range(0, len(texts), _BATCH):
                batch = texts[start : start + _BATCH]
                for encoding in self.tokenizer.encode_batch(batch, add_special_tokens=False):
                    found.append((len(encoding.ids), encoding.ids[:most]))
        return found


def _byte_pairs(vocabulary: Path, merges: Path) -> Tokenizer:
    """CLIP's byte pair encoding, of its two files."""
    table, lines = _text(vocabulary), _text(merges)
    _limit(len(table) + len(lines))
    with _failing(vocabulary, f"with {merges.name} is no tokenizer"):
        pairs = [line.split() for line in lines.split("\n") if line and line[:9] != "#version:"]
        model = models.BPE(
            vocab=json.loads(table),
            merges=[(first, second) for first, second in pairs],
            end_of_word_suffix="</w>",
            unk_token="<|endoftext|>",
        )
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


def _limit(size: int) -> None:
    """Limit what reading files of so many bytes may take."""
    limit_process(TOKENIZER_SECONDS.allowed(), TOKENIZER_MEMORY.allowed(size))


@contextmanager
def _failing(path: Path, what: str) -> Iterator[None]:
    """Raise what goes wrong as a CheckpointError."""
    try:
        yield
    except VitConvertError:
        raise
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of Rust's is no Exception
        said = (str(error) or type(error).__name__).splitlines()[0]
        raise _wrong(path, f"{what}: {said}") from None


def _text(path: Path) -> str:
    try:
        return read_input(path, TOKENIZER_BYTES).decode()
    except OSError as error:
        raise _wrong(path, f"cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise _wrong(path, "is not UTF-8 text") from error


def _wrong(path: Path, problem: str) -> CheckpointError:
    return CheckpointError(problem, where=str(path), expected=_FILES, hint=_HINT)


def _missing(folder: Path) -> CheckpointError:
    pieces = [name for name in ("spiece.model", "tokenizer.model") if (folder / name).is_file()]
    beside = f", but {pieces[0]}" if pieces else ""
    return _wrong(folder, f"there is no tokenizer in it{beside}")


def main() -> None:
    """Serve."""
    serve(Tokenizing)
