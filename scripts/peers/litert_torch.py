"""In the venv of litert-torch: a timm checkpoint becomes a float32 .tflite file.

python litert_torch.py REPOSITORY MODEL CHECKPOINT OUTPUT
"""

import sys

repository, name, checkpoint, output = sys.argv[1:]
sys.path[0] = repository  # instead of this folder, whose files are called like what they run

import litert_torch  # noqa: E402  # behind the path
import torch  # noqa: E402  # behind the path

from scripts.peers.timm_model import load  # noqa: E402  # behind the path

litert_torch.convert(load(name, checkpoint), (torch.randn(1, 3, 224, 224),)).export(output)
