"""A timm model with the weights of a checkpoint, in whatever environment has timm."""

import importlib.util
from pathlib import Path
from types import ModuleType

import torch

# Loaded from its file, because the package itself imports what the peers' environments lack
_PATH = Path(__file__).parents[2] / "vit_convert" / "parity" / "sources" / "torch_compat.py"


def load(name: str, checkpoint: str) -> torch.nn.Module:
    """The model, in evaluation mode."""
    model = import_vision("timm").create_model(name)
    model.load_state_dict(torch.load(checkpoint))
    return model.eval()


def import_vision(name: str) -> ModuleType:
    """timm, torchvision or transformers, beside a torchvision of another PyTorch too."""
    spec = importlib.util.spec_from_file_location("torch_compat", _PATH)
    assert spec is not None
    assert spec.loader is not None
    compat = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(compat)
    module: ModuleType = compat.import_vision(name)
    return module
