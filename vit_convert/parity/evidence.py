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
from vit_convert.parity.sources import SourceModel, source_model
from vit_convert.parity.tokens import TokensOf


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
    # of a model without a head, "logits" are features all the same
    output, spec = artifact.output, artifact.spec
    features = output.endpoint not in ("logits", spec.output().endpoint)
    if reference is not None:
        if features:
            raise UsageError(
                f"the artifact gives {output.kind}, and logits were recorded",
                where=str(artifact.path),
                hint="--source CHECKPOINT",
            )
        return RecordedReference(read_reference(reference), Path(reference).name)
    assert source is not None
    if images is not None:
        artifact.check_takes_pictures()
    pictures = random_images(artifact) if images is None else PreparedPictures(images, spec)
    from vit_convert.conversion.convert import open_source

    if model is not None and spec.input().kind != "images":
        raise UsageError(
            "your own model is run on pictures only",
            where="--model",
            expected="an artifact of a model of pictures",
            hint="--reference with what your model gave for tokens; "
            "vit_convert.parity.recorded says how to write it",
        )
    if model is not None:
        from vit_convert.checkpoint import open_checkpoint
        from vit_convert.parity.sources.own_model import build

        checkpoint = open_checkpoint(source, key)
        own: SourceModel = build(model, checkpoint, spec, features)
        if output.kind == "tokens":
            _, ledger = open_source(Path(source), key, spec)
            own = TokensOf(own, artifact, ledger.tensors)
        return LiveReference(own, pictures, Path(source).name)
    checkpoint, ledger = open_source(Path(source), key, spec)
    live = source_model(spec, checkpoint, ledger, features)
    if output.kind == "tokens":
        live = TokensOf(live, artifact, ledger.tensors)
    return LiveReference(live, pictures, Path(source).name)
