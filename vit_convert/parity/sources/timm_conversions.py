"""Others' checkpoints in timm, renamed by timm: its filter for facebookresearch's and OpenAI's
names, and its loader for Google's `.npz`."""

from __future__ import annotations

from vit_convert.architectures import ModelSpec
from vit_convert.checkpoint import Checkpoint
from vit_convert.dialects import Ledger
from vit_convert.parity.sources.strict_loading import load_strictly
from vit_convert.parity.sources.timm_options import common
from vit_convert.parity.sources.timm_relatives import eva
from vit_convert.parity.sources.timm_source import canonical_model, import_library
from vit_convert.parity.sources.watched import WatchedModel, as_torch


def build(spec: ModelSpec, checkpoint: Checkpoint, ledger: Ledger, features: bool) -> WatchedModel:
    """See `vit_convert.parity.sources.source_model`."""
    timm = import_library("timm")
    import torch

    vision_transformer = import_library("timm.models.vision_transformer")
    has_head = spec.config.num_classes > 0
    rotary = spec.config.rotary != "none"
    if rotary:  # timm's filter knows the attention whose keys have no bias
        options = common(spec.config, spec.config.num_classes)
        model = eva(spec.config, options, attention="eva")
    else:
        model = canonical_model(spec, spec.config.num_classes)
    if checkpoint.format == "npz":
        vision_transformer._load_weights(model, str(checkpoint.path))
    else:
        state = {
            ("visual." if ledger.body == "visual." else "")
            + name.removeprefix(ledger.prefix).removeprefix(ledger.body): tensor
            for name, tensor in as_torch(checkpoint.tensors).items()
            if name not in ledger.ignored or name.endswith("mask_token")  # tells it the scheme
        }
        theirs = import_library("timm.models.eva") if rotary else vision_transformer
        state = theirs.checkpoint_filter_fn(state, model)
        if "head.bias" not in ledger.tensors:
            state.pop("head.bias", None)  # timm fills in zeros where CLIP has none
        load_strictly(model, state)
    if features and has_head:
        model.head = torch.nn.Identity()
    versions = f"timm {timm.__version__} on PyTorch {torch.__version__}, float32"
    described = f"{versions}, names read by timm"
    blocks = {name: model.get_submodule(name) for name in spec.block_names()[1:]}
    return WatchedModel(model, model.__call__, blocks, described)
