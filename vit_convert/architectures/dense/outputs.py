"""What Vision Transformers with a dense head give."""

from __future__ import annotations

from vit_convert.architectures.dense.config import DenseConfig
from vit_convert.architectures.outputs import Head, Output, OutputSpec

_DEPTH = {
    "relu": "The inverse depth of each pixel, larger where it is nearer, by an unknown factor.",
    "sigmoid": "The depth of each pixel in metres.",
}


def dense_outputs(config: DenseConfig, head: Head, block: int | None) -> dict[Output, OutputSpec]:
    """As `vit_convert.architectures.outputs.Outputs`: the head's maps, and nothing else."""
    axes = ("height", "width")
    if config.head == "linear":
        shape = (*config.output_size, config.num_classes)
        text = "One value for each class at each pixel, before the softmax."
        spec = OutputSpec("segments", "segments", (*axes, "classes"), shape, text, "logits")
    else:
        text = _DEPTH[config.depth_activation]
        spec = OutputSpec("depth", "depth", axes, config.output_size, text, "logits")
    return {"logits": spec}
