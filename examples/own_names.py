"""A checkpoint with names of your own, converted by a rule file, and back bit for bit.

python own_names.py
"""

from pathlib import Path

import numpy as np

import vit_convert
from vit_convert.checkpoint import open_checkpoint
from vit_convert.dialects import rules_of

WEIGHTS = Path(__file__).resolve().parent.parent / "weights"
RULES = """
name = "mine"
title = "my trainer's ViT"

[rename]
"encoder.cls" = "cls_token"
"encoder.positions" = "pos_embed"
"encoder.patches.{leaf}" = "patch_embed.proj.{leaf}"
"encoder.layer.{i}.norm_a.{leaf}" = "blocks.{i}.norm1.{leaf}"
"encoder.layer.{i}.out.{leaf}" = "blocks.{i}.attn.proj.{leaf}"
"encoder.layer.{i}.norm_b.{leaf}" = "blocks.{i}.norm2.{leaf}"
"encoder.layer.{i}.up.{leaf}" = "blocks.{i}.mlp.fc1.{leaf}"
"encoder.layer.{i}.down.{leaf}" = "blocks.{i}.mlp.fc2.{leaf}"
"encoder.norm.{leaf}" = "norm.{leaf}"
"classifier.{leaf}" = "head.{leaf}"

[[rule]]
from = ["encoder.layer.{i}.q.{leaf}", "encoder.layer.{i}.k.{leaf}", "encoder.layer.{i}.v.{leaf}"]
to = "blocks.{i}.attn.qkv.{leaf}"
transform = "joined 3"

[values]
num_heads = 3
"""
Path("mine.toml").write_text(RULES)

# A checkpoint with such names: the one of weights/, renamed, and with q, k and v apart.
vit_convert.torch2keras(WEIGHTS / "vit_cifar10.pth", "timm.h5", force=True)
vit_convert.keras2torch("timm.h5", "mine.safetensors", rules="mine.toml", force=True)
names = sorted(open_checkpoint("mine.safetensors").tensors)
print(len(names), "tensors, such as", names[0])

# Your names -> Keras and .tflite, with the same rules.
rules = rules_of("mine.toml")
conversion = vit_convert.torch2keras("mine.safetensors", "mine.h5", among=[rules], force=True)
(path,) = vit_convert.export("mine.h5", ["tflite"], force=True)
result = vit_convert.verify(path, reference=WEIGHTS / "vit_cifar10_reference.npz")
print(path, result.verdict.text)
assert result.passed

# And back: the rules went into the .h5.
vit_convert.keras2torch("mine.h5", "back.safetensors", force=True)
before, after = (open_checkpoint(f"{name}.safetensors").tensors for name in ("mine", "back"))
assert before.keys() == after.keys()
assert all(np.array_equal(before[name].read(), after[name].read()) for name in before)
print("every tensor came back bit for bit")
