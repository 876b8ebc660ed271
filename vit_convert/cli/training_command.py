"""What `train` and `finetune` do once their options are known."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vit_convert.cli import console

if TYPE_CHECKING:
    from vit_convert.training.folders import LabelledPictures
    from vit_convert.training.recipe import Recipe
    from vit_convert.training.run import Training
    from vit_convert.training.start import Beginning


@dataclass(frozen=True)
class Run:
    """The options of a run that are no part of its recipe.

    Attributes:
        images: the folder to train on.
        output: the .h5 to write.
        validation: a folder, or a share of each class; "0" for none.
        cache_mb: memory for decoded pictures, in MB.
        resume, force, as_json: as the options say.
    """

    images: Path
    output: Path
    validation: str
    cache_mb: int
    resume: bool
    force: bool
    as_json: bool

    @property
    def folder(self) -> Path:
        """The folder of logs, state, pictures and report."""
        return self.output.with_name(f"{self.output.stem}_training")


def run(
    options: Run, recipe: Recipe, begin: Callable[[LabelledPictures, Recipe], Beginning]
) -> None:
    """Check everything, train, and write the model and what is to be seen of its training.

    Args:
        options: of the run.
        recipe: of the training.
        begin: makes the model.
    """
    _check_outputs(options)
    pictures, validation = _pictures(options, recipe)
    from vit_convert.runtime.quiet_tensorflow import quiet

    with quiet():
        from vit_convert.training.devices import bfloat16_is_slow, strategy_of

        strategy = strategy_of(recipe.devices)
    if recipe.mixed_precision and bfloat16_is_slow():
        console.warn("this CPU has no instructions for bfloat16, --mixed-precision is slower here")
    with quiet(), strategy.scope():
        beginning = begin(pictures, recipe)
    for line in beginning.notes:
        console.note(line)
    training = _prepared(options, recipe, beginning, pictures, validation, strategy)
    _train(options, training)
    _finish(options, training)


def _check_outputs(options: Run) -> None:
    from vit_convert.errors import OutputError, UsageError
    from vit_convert.runtime.atomic_write import check_output
    from vit_convert.training.state import FILE

    if options.output.suffix not in (".h5", ".hdf5"):
        raise UsageError(
            f"a Keras .h5 file is written, and the name says {options.output.suffix!r}",
            where=str(options.output),
            expected="a name that ends in .h5",
        )
    again = options.force or options.resume
    check_output(options.output, again)
    if (options.folder / FILE).exists() and not again:
        raise OutputError(
            "a training that was stopped is there",
            where=str(options.folder),
            hint="--resume, which goes on with it, or --force, which begins anew",
        )
    check_output(options.folder, again, folder_with="recipe.json")


def _pictures(options: Run, recipe: Recipe) -> tuple[LabelledPictures, LabelledPictures | None]:
    """Pictures to train on and to validate on."""
    from vit_convert.errors import UsageError
    from vit_convert.training.folders import read_folder, read_validation, split

    pictures = read_folder(options.images)
    try:
        fraction = float(options.validation)
    except ValueError:
        held = read_validation(Path(options.validation), pictures.classes)
        if set(held.paths) & set(pictures.paths):
            raise UsageError(
                "pictures to train on are among those to validate on",
                where=f"--validation {options.validation}",
                expected="another folder, or a share of the pictures such as 0.1",
            ) from None
        missing = len(pictures.classes) - len(set(held.labels.tolist()))
        if missing:
            console.warn(f"{missing} of the classes have no pictures to validate on")
        return pictures, held
    if fraction == 0:
        return pictures, None
    return split(pictures, fraction, recipe.seed)


def _prepared(
    options: Run,
    recipe: Recipe,
    beginning: Beginning,
    pictures: LabelledPictures,
    held: LabelledPictures | None,
    strategy: Any,
) -> Training:
    """The training, with decoded pictures; what is odd about these is said."""
    from vit_convert.errors import UsageError
    from vit_convert.training.phases import phases_of
    from vit_convert.training.pipeline import TrainingBatches, ValidationBatches
    from vit_convert.training.run import Training
    from vit_convert.training.state import Identity, digest_of

    spec = beginning.model.spec
    phases_of(recipe, spec, 1)  # so that blocks that are not there are said first
    pictures = pictures.ordered_as(beginning.classes)
    held = held and held.ordered_as(beginning.classes)
    budget = options.cache_mb * 1_000_000
    with console.progress("reading") as progress:
        batches = TrainingBatches(pictures, spec, recipe, budget=budget, progress=progress)
        validation = None
        if held is not None:
            validation = ValidationBatches(held, batches.spec, budget=budget, progress=progress)
    for label, name in enumerate(pictures.classes):
        if not batches.readable_of(label):
            raise UsageError(
                f"no picture of the class {name!r} can be read",
                where=str(options.images / name),
                expected="pictures in each of the subfolders",
            )
    stores = [batches.store, *([validation.store] if validation else [])]
    for line in [line for store in stores for line in store.unreadable.values()]:
        console.warn(f"not read: {line}")
    _say_sizes(batches, spec)
    groups = (pictures, held) if held is not None else (pictures,)
    identity = Identity(recipe, digest_of(*groups), beginning.digest)
    return Training(beginning.model, batches, validation, options.folder, identity, strategy)


def _say_sizes(batches: Any, spec: Any) -> None:
    """Say what is done to pictures that are not of the model's size."""
    height, width = spec.config.image_size
    sizes = batches.store.sizes
    counted = sum(sizes.values())
    crop = "shifted at random" if batches.recipe.crop == "padded" else "random parts are resized"
    console.note(
        f"{len(batches.pictures)} pictures to train on, {batches.steps_per_epoch} steps of "
        f"{batches.batch_size} in an epoch; {crop} ({batches.recipe.crop})"
    )
    before, after = (each.preprocessing.crop_pct for each in (spec, batches.spec))
    if before != after:
        console.note(
            f"the model is shown whole pictures, as in training: crop_pct {after:g} in place of "
            f"{before:g}"
        )
    other = counted - sizes[(width, height)]
    if other:
        (w, h), _ = max(sizes.items(), key=lambda item: (item[1], item[0]))
        console.note(
            f"{other} of {counted} pictures are not of the model's {width} x {height} pixels "
            f"(most are {w} x {h}); they are resized"
        )


def _train(options: Run, training: Training) -> None:
    """Train to the end; where that diverges, keep the last good weights and exit with 1."""
    from vit_convert.runtime.atomic_write import atomic_write
    from vit_convert.runtime.signals import Stopped
    from vit_convert.training.run import DivergedError
    from vit_convert.training.saving import write_trained
    from vit_convert.training.state import load_state

    state = None
    if options.resume:
        state = load_state(options.folder, training.identity)
        console.note(f"going on after epoch {state.epochs} of {training.recipe.epochs}")
    else:
        shutil.rmtree(options.folder, ignore_errors=True)
    try:
        options.folder.mkdir(exist_ok=True)
        _write(options.folder / "recipe.json", json.dumps(training.recipe.to_dict(), indent=2))
        with console.training_progress() as observer:
            training.observer = observer
            training.run(state)
    except DivergedError as error:
        kept = options.folder / "last_good.h5"
        with atomic_write(kept, force=True) as path:
            write_trained(path, training.spec, error.weights)
        console.error(error)
        console.note(f"{kept}: the last good weights")
        sys.exit(1)
    except (KeyboardInterrupt, Stopped):
        _say_how_to_go_on(options, len(training.history))
        raise


def _say_how_to_go_on(options: Run, epochs: int) -> None:
    """What a training that was stopped leaves; nothing where no epoch had ended."""
    from vit_convert.training.state import FILE

    if (options.folder / FILE).exists():
        console.note(f"the same command with --resume goes on after epoch {epochs}")
    else:
        shutil.rmtree(options.folder, ignore_errors=True)


def _finish(options: Run, training: Training) -> None:
    """Write the model, measure it as it is written, and draw what there is to see."""
    from vit_convert.exporters import open_artifact
    from vit_convert.runtime.atomic_write import atomic_write
    from vit_convert.training.saving import write_trained
    from vit_convert.training.state import FILE

    with atomic_write(options.output, options.force or options.resume) as path:
        write_trained(path, training.spec, training.weights())
    with console.progress("finishing") as progress:
        from vit_convert.reporting.training_report import examined, write_report

        found = None
        if training.validation is not None:
            found = examined(open_artifact(options.output), training.validation, progress)
        written = write_report(
            options.folder,
            training.history,
            training.recipe,
            found,
            options.output,
            _command(),
            progress,
        )
    late = [*training.batches.store.unreadable.values()]
    _write(options.folder / "unreadable.txt", "".join(f"{line}\n" for line in late))
    (options.folder / FILE).unlink(missing_ok=True)  # last: until then --resume goes on
    last = training.history[-1]
    parameters = sum(v.size for v in training.weights().values())
    if options.as_json:
        console.out_json(
            {
                "output": str(options.output),
                "folder": str(options.folder),
                "epochs": last.epoch,
                "parameters": parameters,
                "training_loss": last.loss,
                "training_accuracy": last.accuracy,
                "validation_accuracy": None if found is None else found.top1,
                "validation_images": 0 if found is None else found.images,
                "unreadable": late,
                "seconds": sum(row.seconds for row in training.history),
            }
        )
        return
    size = console.megabytes(options.output.stat().st_size)
    console.out(f"{options.output}: {parameters / 1e6:.2f} M parameters, {size}")
    if found is not None:
        console.out(f"validation: {found.top1:.2f} % of {found.images} pictures")
    for path in written:
        console.out(str(path))


def _write(path: Path, text: str) -> None:
    """Write a small file, whole or not at all."""
    from vit_convert.runtime.atomic_write import atomic_write

    with atomic_write(path, force=True) as scratch:
        scratch.write_text(text)


def _command() -> str:
    import shlex

    return shlex.join(["vit-convert", *sys.argv[1:]])
