"""All budgets of the readers: how much work, memory and length a file of somebody else may ask for.

A small file must not take long or fill the memory, whatever it says. So each reader counts what it
does, and stops at a limit. Each limit leaves honest files much room; where their needs grow with
their size, so does the limit. An error names the limit, and the environment variable
`VIT_CONVERT_LIMITS` raises it:

    VIT_CONVERT_LIMITS=tensors=500000,json_bytes=1e9 vit-convert inspect huge.pth
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from vit_convert.errors import CheckpointError, UsageError, VitConvertError

VARIABLE = "VIT_CONVERT_LIMITS"


@dataclass(frozen=True)
class Limit:
    """A budget.

    Attributes:
        name: in `VIT_CONVERT_LIMITS`.
        base: what every file may have.
        what: of which things or units.
        why: the reason for the numbers.
        per_byte: what is added for each byte of the file.
        most: what no file may have more of, whatever its size; 0 for no such bound.
    """

    name: str
    base: int
    what: str
    why: str
    per_byte: float = 0
    most: int = 0

    def allowed(self, size: int = 0) -> int:
        """The limit for a file of `size` bytes, or what the user set.

        Raises:
            UsageError: `VIT_CONVERT_LIMITS` makes no sense.
        """
        stated = _stated().get(self.name)
        if stated is not None:
            return stated
        scaled = self.base + int(self.per_byte * size)
        return min(scaled, self.most) if self.most else scaled

    def check(
        self,
        amount: int,
        where: str = "",
        size: int = 0,
        error: type[VitConvertError] = CheckpointError,
    ) -> None:
        """Raises `error` where `amount` is more than a file of `size` bytes may have."""
        if amount > (most := self.allowed(size)):
            raise self.exceeded(most, where, error)

    def exceeded(
        self, most: int, where: str = "", error: type[VitConvertError] = CheckpointError
    ) -> VitConvertError:
        """The error that says so."""
        return error(
            f"it is over the limit `{self.name}`, which is {most:,} {self.what}",
            where=where,
            expected=f"a file within it: {self.why}",
            hint=f"if you trust the file, set {VARIABLE}={self.name}={max(10 * most, 10)}",
        )


class Budget:
    """What is left of a limit while one file is read.

    Args:
        limit: the limit.
        size: of the file, in bytes.
        where: the file, for messages.
    """

    def __init__(self, limit: Limit, size: int = 0, where: str = "") -> None:
        self.limit, self.where = limit, where
        self.most = self.left = limit.allowed(size)

    def spend(self, amount: int) -> None:
        """Take so much of it.

        Raises:
            CheckpointError: it is used up.
        """
        self.left -= amount
        if self.left < 0:
            raise self.limit.exceeded(self.most, self.where)


PICKLE_BYTES = Limit(
    "pickle_bytes",
    16 << 20,
    "bytes of unpacked pickle",
    "a ViT's pickle has some 200 bytes for each tensor; stored ones are within the file's size",
    per_byte=4,
)
PICKLE_STEPS = Limit(
    "pickle_steps",
    400_000,
    "steps of a pickle",
    "a tensor takes about 60 steps, a ViT-g with its optimizer's state 200,000",
    per_byte=1 / 32,
    most=3_000_000,
)
PICKLE_COPIES = Limit(
    "pickle_copies",
    64 << 20,
    "bytes copied between the values of a pickle",
    "arrays of NumPy are copied once, and lists when they become dictionaries",
    per_byte=2,
)
PICKLE_ODD_KEYS = Limit(
    "pickle_odd_keys",
    4096,
    "dictionary keys that are neither text nor short numbers",
    "their hashes can be made to collide, and then each key is compared with all others",
)
UNPACKED_BYTES = Limit(
    "unpacked_bytes",
    128 << 20,
    "bytes of unpacked archive members",
    "trained weights hardly shrink; only constants pack better than 20 to 1",
    per_byte=20,
)
REPEATS = Limit(
    "unpacked_repeats",
    8,
    "times that an archive is unpacked over",
    "each tensor is read two or three times, and one storage is kept unpacked",
)
DIRECTORY_BYTES = Limit(
    "directory_bytes",
    8 << 20,
    "bytes of a zip archive's directory",
    "a member takes about 100 bytes there, and a ViT has a few hundred",
)
TENSORS = Limit(
    "tensors", 100_000, "tensors", "the largest ViTs have under 2,000, with an optimizer 6,000"
)
NAME_LENGTH = Limit(
    "name_length", 1_000, "characters of a tensor's name", "the longest known have about 150"
)
TENSOR_BYTES = Limit(
    "tensor_bytes",
    1 << 30,
    "bytes of tensors",
    "tensors that share their values, or pack well, may be larger than the file, but not endlessly",
    per_byte=24,
)
MODULES = Limit(
    "modules", 200_000, "entries of pickled modules", "a ViT-g has 1,300 modules and parameters"
)
STATE_DICTS = Limit(
    "state_dicts", 1_000, "state dicts", "checkpoints hold a model, its average, an optimizer"
)
EXTRAS = Limit(
    "extras", 200_000, "values beside the weights", "histories of losses have some thousands"
)
SHARDS = Limit("shards", 200, "parts", "each part of a checkpoint is kept open")
HEADER_BYTES = Limit(
    "header_bytes",
    16 << 20,
    "bytes of a safetensors header",
    "a tensor takes about 100 bytes there",
)
JSON_BYTES = Limit("json_bytes", 16_000_000, "bytes of JSON", "ImageNet-21k's labels take 2 MB")
TOKENIZER_BYTES = Limit(
    "tokenizer_bytes", 100_000_000, "bytes of a tokenizer", "SigLIP 2's, Gemma's, takes 34 MB"
)
TOKENIZER_SECONDS = Limit(
    "tokenizer_seconds",
    10,
    "seconds of computing to read a tokenizer and make tokens of texts",
    "one of 50,000 tokens is read in a fifth of a second, and a text takes microseconds; a regular "
    "expression in it can take for ever",
    per_byte=1e-5,
)
TOKENIZER_MEMORY = Limit(
    "tokenizer_memory",
    512 << 20,
    "bytes of memory to read a tokenizer and make tokens of texts",
    "its tables take some 20 times the file's size; what it says to put in place of a word can be "
    "of any length",
    per_byte=50,
)
GRAPH_BYTES = Limit(
    "graph_bytes", 64 << 20, "bytes of a SavedModel's graph", "a ViT-g's takes 10 MB"
)
LABELS_BYTES = Limit("labels_bytes", 16_000_000, "bytes of labels", "ImageNet-21k's take 0.5 MB")
RULES_BYTES = Limit("rules_bytes", 200_000, "bytes", "a rule file has some dozens of lines")
RULES = Limit("rules", 300, "patterns in a rule file", "each is tried on examples of all others")
RENAMES = Limit(
    "renames",
    80_000,
    "names tried with schemes and prefixes",
    "a ViT-g's 1,300 names are tried with two or three schemes",
)
BLOCKS = Limit("blocks", 1_000, "blocks of a model", "the deepest published ViTs have 64")
WIDTH = Limit(
    "width", 1 << 20, "channels, tokens or pixels of a side", "the widest ViTs have 6,144 channels"
)
CLASSES = Limit("classes", 1_000_000, "classes of a model", "ImageNet-21k has 21,843")
TFLITE_STEPS = Limit(
    "tflite_steps",
    1024,
    "tables, elements and characters of a .tflite file",
    "a graph of 20,000 operations has 600,000",
    per_byte=1,
    most=1_500_000,
)
H5_SECONDS = Limit(
    "h5_seconds",
    4,
    "seconds of computing to read an HDF5 file's structure",
    "a ViT-g's takes a tenth of a second; a damaged file can keep libhdf5 busy for ever",
)
H5_OBJECTS = Limit(
    "h5_objects", 20_000, "groups and datasets of an HDF5 file", "a ViT-g's has 2,000"
)
IMAGE_FILE_BYTES = Limit(
    "image_file_bytes",
    400 << 20,
    "bytes of a picture file",
    "uncompressed, 100 megapixels have 300",
)
IMAGE_BYTES = Limit(
    "image_bytes",
    256 << 20,
    "bytes that a picture takes in memory, decoded and turned into RGB",
    "32 megapixels take that much; photographs of more have megabytes, and the largest cameras 108",
    per_byte=100,
    most=900 << 20,
)
IMAGE_SCANS = Limit(
    "image_scans", 100, "scans of a progressive JPEG", "cameras and programs write about ten"
)
RESIZED_PIXELS = Limit(
    "resized_pixels",
    1 << 26,
    "pixels of a picture after resizing",
    "a panorama of 20 to 1 has a million, for a model of 224 x 224",
)

LIMITS = {item.name: item for item in list(globals().values()) if isinstance(item, Limit)}


def _stated() -> dict[str, int]:
    """The limits that the user set."""
    text = os.environ.get(VARIABLE, "")
    stated = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.strip().partition("=")
        try:
            number = int(float(value))
        except (ValueError, OverflowError):
            number = -1
        if name not in LIMITS or number < 0:
            raise UsageError(
                f"{part.strip()!r} sets no limit",
                where=f"the environment variable {VARIABLE}",
                expected=f"NAME=NUMBER, NAME one of {', '.join(sorted(LIMITS))}",
            )
        stated[name] = number
    return stated
