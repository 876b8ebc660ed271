"""A model with every parameter randomised, and what it gives for random images.

python checkpoint.py MODEL CHECKPOINT REFERENCE

MODEL is one of published.py, which is saved as a folder of transformers, or a model of timm.
"""

import sys
from pathlib import Path

import numpy as np
import torch

name, checkpoint, reference = sys.argv[1:]
ROOT = Path(__file__).parents[2]
sys.path[0] = str(ROOT)  # instead of this folder, whose files are called like what they run
sys.path.insert(1, str(ROOT / "tests"))
# E402: behind the path
from families import randomise, timm  # noqa: E402

from scripts.peers.published import MODELS  # noqa: E402
from scripts.peers.transformers_models import load, make, outputs, random_images  # noqa: E402

if name in MODELS:
    make(name, Path(checkpoint))
    images = random_images(MODELS[name].size, 4)
    found = outputs(load(name, Path(checkpoint)), images)
else:
    model = randomise(timm.create_model(name))
    images = np.random.default_rng(0).standard_normal((4, 224, 224, 3), np.float32)
    with torch.inference_mode():
        found = model(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    torch.save(model.state_dict(), checkpoint)
np.savez(reference, images=images, outputs=found)
