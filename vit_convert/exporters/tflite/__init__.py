"""TFLite (LiteRT)."""

from vit_convert.exporters.tflite.target import TFLITE

__all__ = ["TFLITE"]
