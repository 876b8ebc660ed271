"""In the venv of litert-torch: a checkpoint of timm or transformers becomes a float32 .tflite.

python litert_torch.py REPOSITORY MODEL CHECKPOINT OUTPUT
"""

import sys
from pathlib import Path

repository, name, checkpoint, output = sys.argv[1:]
sys.path[0] = repository  # instead of this folder, whose files are called like what they run

import litert_torch  # noqa: E402  # behind the path
import torch  # noqa: E402  # behind the path

from scripts.peers.published import MODELS  # noqa: E402  # behind the path

if name in MODELS:
    from scripts.peers.transformers_models import load

    model, size = load(name, Path(checkpoint)), MODELS[name].size
else:
    from scripts.peers.timm_model import load as load_timm

    model, size = load_timm(name, checkpoint), 224
litert_torch.convert(model, (torch.randn(1, 3, size, size),)).export(output)
