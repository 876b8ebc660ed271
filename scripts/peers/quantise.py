"""In the venv of litert-torch: int8 weights, float activations, by AI Edge Quantizer.

python quantise.py INPUT OUTPUT
"""

import sys

from ai_edge_quantizer import quantizer, recipe

source, output = sys.argv[1:]
model = quantizer.Quantizer(source)
model.load_quantization_recipe(recipe.dynamic_wi8_afp32())
model.quantize().export_model(output, overwrite=True)
