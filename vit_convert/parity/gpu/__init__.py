"""A .tflite file on LiteRT's GPU accelerator."""
