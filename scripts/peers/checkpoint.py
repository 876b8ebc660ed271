"""A timm model with every parameter randomised, and what it gives for random images.

python checkpoint.py MODEL CHECKPOINT REFERENCE
"""

import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from families import randomise, timm

name, checkpoint, reference = sys.argv[1:]
model = randomise(timm.create_model(name))
images = np.random.default_rng(0).standard_normal((4, 224, 224, 3), np.float32)
with torch.inference_mode():
    logits = model(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
torch.save(model.state_dict(), checkpoint)
np.savez(reference, images=images, logits=logits)
