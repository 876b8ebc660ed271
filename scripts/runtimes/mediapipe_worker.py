"""Offer a .tflite file to the classic GPU delegate, by MediaPipe's ImageClassifier.

    python mediapipe_worker.py MODEL.tflite HEIGHT WIDTH

The delegate's front end is that of OpenCL phones; behind it OpenGL, which has no transformer's
operations, may well fail.
"""

from __future__ import annotations

import sys

import mediapipe
import numpy as np
from mediapipe.tasks.python import BaseOptions, vision


def main() -> None:
    path, height, width = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    options = vision.ImageClassifierOptions(
        base_options=BaseOptions(model_asset_path=path, delegate=BaseOptions.Delegate.GPU)
    )
    with vision.ImageClassifier.create_from_options(options) as classifier:
        pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
        print(classifier.classify(picture).classifications[0].categories[0])


if __name__ == "__main__":
    main()
