"""Have MediaPipe run a .tflite file, in an environment that has MediaPipe.

    python mediapipe_worker.py MODEL.tflite PICTURES.npy cpu|gpu classifier|embedder

Prints JSON: for each picture, name -> score of all classes by ImageClassifier, or name of the
output -> vector by ImageEmbedder. "gpu" is the classic GPU delegate. Its
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
    path, pictures, where, task = sys.argv[1:]
    delegate = BaseOptions.Delegate.GPU if where == "gpu" else BaseOptions.Delegate.CPU
    base = BaseOptions(model_asset_path=path, delegate=delegate)
    images = [
        mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
        for pixels in np.load(pictures)
    ]
    run = embedded if task == "embedder" else classified
    print(json.dumps(run(base, images)))


def classified(base: BaseOptions, images: list[mediapipe.Image]) -> list[dict[str, float]]:
    """Name -> score of all classes."""
    options = vision.ImageClassifierOptions(base_options=base)
    found = []
    with vision.ImageClassifier.create_from_options(options) as classifier:
        for image in images:
            (head,) = classifier.classify(image).classifications
            found.append({each.category_name: each.score for each in head.categories})
    return found


def embedded(base: BaseOptions, images: list[mediapipe.Image]) -> list[dict[str, list[float]]]:
    """Name of the output, as the metadata has it -> vector, as the file gives it."""
    options = vision.ImageEmbedderOptions(base_options=base, l2_normalize=False, quantize=False)
    found = []
    with vision.ImageEmbedder.create_from_options(options) as embedder:
        for image in images:
            (head,) = embedder.embed(image).embeddings
            found.append({head.head_name: np.asarray(head.embedding, np.float64).tolist()})
    return found


if __name__ == "__main__":
    main()
