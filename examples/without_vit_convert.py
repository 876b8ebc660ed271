"""An app's part: a .tflite file run by LiteRT alone, with the preprocessing written out.

python without_vit_convert.py

Only the first lines, which make the file, use vit-convert. What follows is what an app has to do,
in any language: resize, crop, normalise, run, and take the largest.
"""

from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

import vit_convert

WEIGHTS = Path(__file__).resolve().parent.parent / "weights"
SIDE, MEAN, STD = 32, 0.5, 0.5  # `vit-convert inspect vit_float32.tflite` shows them

vit_convert.torch2keras(WEIGHTS / "vit_cifar10.pth", "vit.h5", force=True)
vit_convert.export("vit.h5", ["tflite"], force=True)

labels = (WEIGHTS / "cifar10_labels.txt").read_text().split()
model = Interpreter("vit_float32.tflite").get_signature_runner("serving_default")
right = 0
pictures = sorted((WEIGHTS / "images").glob("*/0000.jpg"))
for path in pictures:
    # These pictures have the model's size already. Others: shorter side to SIDE / crop_pct,
    # bicubic, then the middle.
    picture = Image.open(path).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    images = (np.asarray(picture, np.float32)[None] / 255 - MEAN) / STD
    logits = model(images=images)["logits"][0]
    probabilities = np.exp(logits - logits.max())
    probabilities /= probabilities.sum()
    best = int(probabilities.argmax())
    right += labels[best] == path.parent.name
    print(f"{path.parent.name}: {labels[best]} {probabilities[best]:.0%}")

print(f"{right} of {len(pictures)} are right")
assert right > len(pictures) / 2
