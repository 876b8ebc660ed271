"""In the venv of onnx2tf: a timm checkpoint becomes ONNX, and that a float32 .tflite file.

python onnx2tf.py REPOSITORY MODEL CHECKPOINT OUTPUT
"""

import os
import sys
import tempfile
from pathlib import Path

repository, name, checkpoint, output = sys.argv[1:]
# It simplifies the ONNX file with a command of its environment, and goes on without, wrongly
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
sys.path[0] = repository  # instead of this folder, whose files are called like what they run

import numpy as np  # noqa: E402  # behind the path
import onnx2tf  # noqa: E402  # behind the path
import torch  # noqa: E402  # behind the path

from scripts.peers.timm_model import load  # noqa: E402  # behind the path

with tempfile.TemporaryDirectory() as folder:
    # Images that it would download else, to compare the ONNX file with what it makes of it
    os.chdir(folder)
    images = np.random.default_rng(0).random((20, 128, 128, 3), np.float32)
    np.save("calibration_image_sample_data_20x128x128x3_float32.npy", images)
    path = Path(folder, "model.onnx")
    example = (torch.randn(1, 3, 224, 224),)
    torch.onnx.export(load(name, checkpoint), example, str(path), dynamo=False, opset_version=17)
    onnx2tf.convert(input_onnx_file_path=str(path), output_folder_path=folder, non_verbose=True)
    Path(folder, "model_float32.tflite").rename(output)
