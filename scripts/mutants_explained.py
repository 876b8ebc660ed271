"""Mutants of `scripts/mutate_code` that no test notices, and why they may stay."""

from __future__ import annotations

# (file under vit_convert/, the line as it was, and as it becomes) -> why nothing can notice it
_KEPT = "how many arrays are kept, so that none is read twice; what is computed is the same"
_FROZEN = "nothing in the package changes it; frozen is for mypy and for readers"
EXPLAINED: dict[tuple[str, str, str], str] = {
    (
        "folding/__init__.py",
        "while len(recent) > _KEPT:",
        "while len(recent) >= _KEPT:",
    ): _KEPT,
    (
        "folding/__init__.py",
        "_KEPT = 4  # arrays as they were read: a layer's weight and bias, and a norm's",
        "_KEPT = 3  # arrays as they were read: a layer's weight and bias, and a norm's",
    ): _KEPT,
    (
        "folding/model.py",
        "@dataclass(frozen=True)",
        "@dataclass(frozen=False)",
    ): _FROZEN,
    (
        "folding/model.py",
        "if array.ndim != 2 or array.flags.c_contiguous:",
        "if not array.ndim != 2 or array.flags.c_contiguous:",
    ): "both ways give the array row by row; which is taken is a matter of speed",
    (
        "checkpoint/modules.py",
        "if depth > _MAX_DEPTH:",
        "if depth == _MAX_DEPTH:",
    ): "the limit is one less, which no model comes near, and modules without end still meet it",
    (
        "checkpoint/nesting.py",
        "return (2, -len(state.tensors))",
        "return (2, ~len(state.tensors))",
    ): "~n is -n - 1, which sorts as -n does",
    (
        "checkpoint/npz.py",
        "width = 2 if head[6] == 1 else 4",
        "width = 2 if head[6] <= 1 else 4",
    ): "the version is 1, 2 or 3, as the line above it has made sure",
    (
        "checkpoint/opening.py",
        "_HEAD = 4096",
        "_HEAD = 4097",
    ): "what tells the formats apart is in far fewer bytes",
    (
        "checkpoint/torch_zip.py",
        "prefix = names[0].removesuffix(_PICKLE)",
        "prefix = names[ -1].removesuffix(_PICKLE)",
    ): "there is one name, as the line above it has made sure",
    (
        "dialects/attention_transforms.py",
        "groups, width = len(parts[0]) // len(parts[1]), len(norm)",
        "groups, width = len(parts[0]) // len(parts[ 2]), len(norm)",
    ): "keys and values have one shape, as `_grouped_shapes` has made sure",
    (
        "dialects/linear_segmentation.py",
        '*(rule for rule in table.rules if not rule.targets[0].startswith("head.")),',
        '*(rule for rule in table.rules if not rule.targets[ -1].startswith("head.")),',
    ): "a rule that makes a head makes nothing else",
    (
        "dialects/patterns.py",
        "@cache",
        "",
    ): "it is there for speed",
    (
        "dialects/transformers_beit.py",
        'marker=in_block_0(layer, f"{parts[0]}.weight"),',
        'marker=in_block_0(layer, f"{parts[ 1]}.weight"),',
    ): "a model that has queries has keys",
    (
        "dialects/template.py",
        "image_size=(7 * 5, 11 * 13),",
        "image_size=(7 * 5, 10 * 13),",
    ): "how many patches there are is said in words",
    (
        "checkpoint/tensor.py",
        "@staticmethod",
        '"""A tensor that is in memory already."""',
    ): "it is called on the class, where that makes no difference",
    (
        "checkpoint/tensor.py",
        "@dataclass(frozen=True)",
        "@dataclass(frozen=False)",
    ): _FROZEN,
    (
        "checkpoint/zip_archive.py",
        "_DEFLATE_RATIO = 1032  # its greatest",
        "_DEFLATE_RATIO = 1033  # its greatest",
    ): "it bounds what a member may claim; what its bytes give is checked once more",
    (
        "checkpoint/zip_archive.py",
        "stored = info.compress_type == zipfile.ZIP_STORED",
        "stored = info.compress_type is zipfile.ZIP_STORED",
    ): "they are small integers, which Python has once",
    (
        "checkpoint/writing_torch.py",
        "if value < 1 << 31:",
        "if value < 1 << 30:",
    ): "larger numbers are written by another opcode, which reads the same",
}
