"""Have MediaPipe's ImageClassifier run a .tflite file, in an environment that has MediaPipe.

    python mediapipe_worker.py MODEL.tflite PICTURES.npy cpu|gpu

Prints JSON: for each picture, name -> score of all classes. "gpu" is the classic GPU delegate. Its
front end is that of OpenCL phones; behind it OpenGL, which has no transformer's operations, may
well fail.
"""

from __future__ import annotations

import json
import sys

import mediapipe
import numpy as np
from mediapipe.tasks.python import BaseOptions, vision


def main() -> None:
    path, pictures, where = sys.argv[1:]
    delegate = BaseOptions.Delegate.GPU if where == "gpu" else BaseOptions.Delegate.CPU
    options = vision.ImageClassifierOptions(
        base_options=BaseOptions(model_asset_path=path, delegate=delegate)
    )
    found = []
    with vision.ImageClassifier.create_from_options(options) as classifier:
        for pixels in np.load(pictures):
            picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
            (head,) = classifier.classify(picture).classifications
            found.append({each.category_name: each.score for each in head.categories})
    print(json.dumps(found))


if __name__ == "__main__":
    main()
