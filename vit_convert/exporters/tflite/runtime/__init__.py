"""Runs TFLite graphs in NumPy, in float32 or as a phone's GPU does in float16.

It needs neither TensorFlow nor LiteRT's interpreter, holds one operation's weights at a time, and
shows every value on the way.
"""

from vit_convert.exporters.tflite.runtime.arithmetic import FLOAT16, FLOAT32, Arithmetic
from vit_convert.exporters.tflite.runtime.execution import run, trace
from vit_convert.exporters.tflite.runtime.graph import (
    BuiltGraph,
    FileGraph,
    Graph,
    Node,
    Quantisation,
    Tensor,
)

__all__ = [
    "FLOAT16",
    "FLOAT32",
    "Arithmetic",
    "BuiltGraph",
    "FileGraph",
    "Graph",
    "Node",
    "Quantisation",
    "Tensor",
    "run",
    "trace",
]
