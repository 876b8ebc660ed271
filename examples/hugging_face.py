"""A folder of transformers becomes a .tflite, compared with transformers itself.

python hugging_face.py

The folder is made here, with random weights, because a download needs a network; any that
`save_pretrained` wrote will do.
"""

import torch

import vit_convert
from vit_convert.parity.sources.torch_compat import import_vision

# `import transformers`, also where torchvision was built for another PyTorch
transformers = import_vision("transformers")
import_vision("torchvision")

torch.manual_seed(0)
config = transformers.Dinov2Config(
    hidden_size=48,
    num_hidden_layers=3,
    num_attention_heads=4,
    image_size=32,
    patch_size=8,
    num_labels=5,
)
model = transformers.Dinov2ForImageClassification(config).eval()
for parameter in model.parameters():
    torch.nn.init.normal_(parameter, std=0.2)
model.save_pretrained("my-dinov2")

conversion = vit_convert.torch2keras("my-dinov2", "my_dinov2.h5", force=True)
(path,) = vit_convert.export("my_dinov2.h5", ["tflite"], force=True)
artifact = vit_convert.open_artifact(path)

images = torch.randn(2, 3, 32, 32)
with torch.no_grad():
    theirs = model(images).logits.numpy()
ours = artifact.run(images.permute(0, 2, 3, 1).numpy())["logits"]
difference = abs(ours - theirs).max() / abs(theirs).max()
print(f"{conversion.ledger.dialect.name}: |difference| / max |logit| = {difference:.1e}")
assert difference < 1e-5
