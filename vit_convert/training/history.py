"""What is written down of each epoch: a table as CSV, and logs for TensorBoard."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vit_convert.runtime.atomic_write import atomic_write

LOG, TENSORBOARD = "log.csv", "tensorboard"
_NOT_CURVES = ("epoch", "phase", "step")
_SCALARS = 1  # DATA_CLASS_SCALAR of summary.proto


@dataclass(frozen=True)
class EpochRow:
    """One epoch.

    Attributes:
        epoch: from 1.
        phase: "head" or "all".
        step: steps that are done.
        learning_rate: of its last step.
        loss, accuracy: mean over its batches, the latter in percent of the pictures whose target is
            the most probable class (of mixed pictures: the larger share's).
        validation_loss, validation_accuracy: after it, of the weights that would be kept; NaN
            without pictures to validate on.
        images_per_second: of training steps.
        seconds: in all.
    """

    epoch: int
    phase: str
    step: int
    learning_rate: float
    loss: float
    accuracy: float
    validation_loss: float
    validation_accuracy: float
    images_per_second: float
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @staticmethod
    def from_dict(row: Mapping[str, Any]) -> EpochRow:
        """The inverse of `to_dict`."""
        return EpochRow(**row)


def write_csv(folder: Path, rows: Iterable[EpochRow]) -> None:
    """Write the table of all epochs, in place of an older one."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(EpochRow.__dataclass_fields__), lineterminator="\n")
    writer.writeheader()
    writer.writerows(row.to_dict() for row in rows)
    with atomic_write(folder / LOG, force=True) as path:
        path.write_text(text.getvalue())


class TensorBoardLog:
    """Writes scalars for TensorBoard, which need not be installed.

    Args:
        folder: of the training.
    """

    def __init__(self, folder: Path) -> None:
        import tensorflow as tf

        self._tf = tf
        self._writer = tf.summary.create_file_writer(str(folder / TENSORBOARD))

    def write(self, row: EpochRow) -> None:
        """Log an epoch."""
        tf = self._tf
        about = tf.compat.v1.SummaryMetadata()
        about.plugin_data.plugin_name = "scalars"
        about.data_class = _SCALARS
        with self._writer.as_default():
            for name, value in row.to_dict().items():
                if name not in _NOT_CURVES:
                    tf.summary.write(
                        name, tf.constant(value, tf.float32), step=row.step, metadata=about
                    )
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()
