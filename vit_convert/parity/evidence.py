"""Opens what an artifact is compared with: the source in its library or in the user's own model, or
a recording."""

from __future__ import annotations

from pathlib import Path

from vit_convert.errors import UsageError
from vit_convert.exporters import Artifact
from vit_convert.images.pictures import GivenPictures
from vit_convert.parity.inputs import random_images
from vit_convert.parity.recorded import read_reference
from vit_convert.parity.references import (
    LiveReference,
    PreparedPictures,
    RecordedReference,
    Reference,
)
from vit_convert.parity.sources import source_model


def check_options(
    source: str | Path | None,
    reference: str | Path | None,
    model: str | None,
    images: object,
    key: str | None,
) -> None:
    """Refuse options that do not fit together.

    Raises:
        UsageError: they do not.
    """
    if source is None and model is not None and reference is None:
        raise UsageError(
            "your model needs the checkpoint's weights",
            where="--model",
            expected="--source CHECKPOINT with it",
            hint="a model that loads its own weights can be recorded: "
            "vit-convert record --model MODULE:FUNCTION -o FILE.npz",
        )
    if (source is None) == (reference is None):
        raise UsageError(
            "there must be one thing to compare with"
            if source is None
            else "there are two things to compare with",
            expected="either --source CHECKPOINT or --reference FILE.npz",
        )
    if reference is not None:
        given = {"--images": images, "--key": key, "--model": model}
        wrong = [name for name, value in given.items() if value is not None]
        if wrong:
            raise UsageError(
                "recorded logits belong to the recorded images"
                if wrong[0] != "--model"
                else "recorded logits need no model",
                where=wrong[0],
                expected="--source CHECKPOINT with it",
            )


def open_evidence(
    artifact: Artifact,
    source: str | Path | None,
    reference: str | Path | None,
    model: str | None,
    images: GivenPictures | None,
    key: str | None,
) -> Reference:
    """Make the reference: the source run on pictures, or the recording.

    Args:
        artifact: what is compared with it.
        source, reference, images, key: see `vit_convert.parity.verify.verify`.
        model: of the user's own, "module:function", which runs the source.
    """
    features = artifact.options.output == "features"
    if reference is not None:
        if features:
            raise UsageError(
                "the artifact gives features, and logits were recorded",
                where=str(artifact.path),
                hint="--source CHECKPOINT",
            )
        return RecordedReference(read_reference(reference), Path(reference).name)
    assert source is not None
    spec = artifact.spec
    pictures = random_images(artifact) if images is None else PreparedPictures(images, spec)
    if model is not None:
        from vit_convert.checkpoint import open_checkpoint
        from vit_convert.parity.sources.own_model import build

        own = build(model, open_checkpoint(source, key), spec, features)
        return LiveReference(own, pictures, Path(source).name)
    from vit_convert.conversion.convert import open_source

    checkpoint, ledger = open_source(Path(source), key, spec)
    return LiveReference(
        source_model(spec, checkpoint, ledger, features), pictures, Path(source).name
    )
