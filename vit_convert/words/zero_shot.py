"""CLIP or SigLIP and classes in words become an ordinary classifier.

As OpenAI's notebook does it (Prompt_Engineering_for_ImageNet.ipynb) and transformers'
`logits_per_image`: each class stands in every template; the embeddings of these texts are divided
by their lengths, averaged, and divided by their length again; the logits of a picture are its
embedding, of length 1, times these, times exp(logit_scale), plus SigLIP's logit_bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vit_convert.architectures import ModelSpec, Overrides
from vit_convert.checkpoint import open_checkpoint
from vit_convert.checkpoint.tensor import LazyTensor, Tensors
from vit_convert.conversion.convert import convert
from vit_convert.conversion.files import check_h5_output, store_h5
from vit_convert.errors import MappingError, RecognitionError
from vit_convert.hf_config.text_towers import text_tower_refusal
from vit_convert.progress import Progress, silent
from vit_convert.results import Result
from vit_convert.words.embedding import TextEncoder
from vit_convert.words.prompts import PHOTO, checked_classes, checked_templates, prompts
from vit_convert.words.tokenizer import read_tokenizer
from vit_convert.words.tower import TextTower, read_text_tower


@dataclass(frozen=True)
class ZeroShot(Result):
    """A classifier that was made of words.

    Attributes:
        source: the checkpoint.
        path: the .h5 that was written.
        size: its bytes.
        classes: their names.
        templates: the texts that they stood in.
        scale, bias: of the similarities; no bias is None.
        warnings: what is assumed of the two towers.
    """

    source: Path
    path: Path
    size: int
    classes: tuple[str, ...]
    templates: tuple[str, ...]
    scale: float
    bias: float | None
    warnings: tuple[str, ...]


def zero_shot(
    checkpoint: str | Path,
    classes: Sequence[str],
    output: str | Path,
    *,
    templates: Sequence[str] = (PHOTO,),
    key: str | None = None,
    overrides: Overrides | None = None,
    force: bool = False,
    progress: Progress = silent,
) -> ZeroShot:
    """Make a classifier of CLIP or SigLIP and the names of classes. Neither TensorFlow nor PyTorch
    is needed.

    Args:
        checkpoint: the folder that transformers or open_clip saved, with its tokenizer; or the
            checkpoint in such a folder.
        classes: their names.
        output: the .h5 to write; it appears whole or not at all.
        templates: texts with {} where a class belongs; their embeddings are averaged.
        key: which nested state dict to take, where the file holds several.
        overrides: what you state of the image tower.
        force: replace an existing output.
        progress: told what is being done.

    Returns:
        what was made. Its `softmax` are the probabilities of classes of which one is shown (CLIP);
        SigLIP's sigmoid is the export option of that name.

    Raises:
        UsageError: a class is empty or there twice, a template has no {}, a text is longer than the
            context, or the output is no .h5.
        CheckpointError: there is no tokenizer, or a file cannot be read.
        RecognitionError, MappingError: it is no CLIP or SigLIP that is known here, or no whole one.
        MissingDependencyError: the library `tokenizers` is not installed.
        OutputError: the output exists, or cannot be written.

    Warns:
        AssumptionWarning: for each value of the image tower that nothing confirms.
    """
    output = Path(output)
    check_h5_output(output, force)
    names, texts = checked_classes(classes), checked_templates(templates)
    opened = open_checkpoint(checkpoint, key)
    try:
        tower = read_text_tower(opened, progress)
    except RecognitionError as error:
        if refusal := text_tower_refusal(opened.path.parent):  # by name
            raise refusal from error
        raise
    tokenize = read_tokenizer(
        opened.path.parent, tower.config.context_length, tower.config.vocab_size, tower.siglip
    )
    ids = tokenize(prompts(names, texts))
    image = convert(opened, overrides, progress=progress)
    _check_fit(image.spec, tower)
    embeddings = TextEncoder(tower).embed(ids, progress)
    classes_embedded = averaged(embeddings.reshape(len(names), len(texts), -1))
    spec, weights = with_words(image.spec, image.weights, tower, classes_embedded)
    spec = replace(spec, labels=names, source=replace(spec.source, templates=texts))
    store_h5(output, spec, weights, force, progress)
    return ZeroShot(
        source=Path(checkpoint),
        path=output,
        size=output.stat().st_size,
        classes=names,
        templates=texts,
        scale=tower.scale,
        bias=tower.bias,
        warnings=(*image.summary.warnings, *tower.assumptions()),
    )


def averaged(embeddings: np.ndarray) -> np.ndarray:
    """Embeddings of each class in each template (classes, templates, dim) -> of each class, of
    length 1, (classes, dim) float64."""

    def unit(x: np.ndarray) -> np.ndarray:
        return np.asarray(x / np.linalg.norm(x, axis=-1, keepdims=True))

    return unit(unit(embeddings.astype(np.float64)).mean(axis=1))


def with_words(
    spec: ModelSpec, weights: Tensors, tower: TextTower, embeddings: np.ndarray
) -> tuple[ModelSpec, dict[str, LazyTensor]]:
    """The classifier: the image tower, its projection, and the classes' embeddings as the head.

    Args:
        spec, weights: of the image tower, whose head is the projection where there is one.
        tower: the text tower, for scale and bias.
        embeddings: of the classes, (classes, dim), of length 1.
    """
    found = dict(weights)
    projection = spec.config.num_classes
    if projection:
        found["projection.weight"] = found.pop("head.weight")
    count = len(embeddings)
    found["head.weight"] = _array("head.weight", tower.scale * embeddings)
    if tower.bias is not None:
        found["head.bias"] = _array("head.bias", np.full(count, tower.bias))
    spec = spec.with_config(
        projection=projection,
        unit_features=True,
        num_classes=count,
        head_bias=tower.bias is not None,
    )
    moved = {"head.weight": "projection.weight"}
    source = replace(
        spec.source,
        changed=(*spec.source.changed, *(n for n in ("head.weight", "head.bias") if n in found)),
        dtypes={moved.get(name, name): dtype for name, dtype in spec.source.dtypes.items()},
    )
    spec = replace(spec, source=source, head="classes")
    return spec, {p.name: found[p.name] for p in spec.parameters()}


def _array(name: str, values: np.ndarray) -> LazyTensor:
    return LazyTensor.of(name, values.astype(np.float32))


def _check_fit(spec: ModelSpec, tower: TextTower) -> None:
    """Raises an error for two towers whose embeddings cannot be compared."""
    config, text = spec.config, tower.config
    if spec.architecture != "vit" or config.distilled:
        raise RecognitionError(
            "its image tower is no Vision Transformer with one embedding", where=tower.where
        )
    if config.num_classes and config.head_bias:
        raise RecognitionError(
            "its image tower is a classifier, with a head of its own",
            where=tower.where,
            expected="CLIP's or SigLIP's image tower",
        )
    here, there = config.num_classes or config.embed_dim, text.embedding_dim
    if here != there or (not tower.siglip and not (config.num_classes and text.out_dim)):
        raise MappingError(
            f"its image tower gives {here} numbers, and its text tower {there}, "
            f"{'with' if text.out_dim else 'without'} a projection",
            where=tower.where,
            expected="two towers of one model, with both projections",
        )
