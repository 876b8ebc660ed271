"""Models that are no ViT, or one of a kind that is not supported, are refused by name."""

from __future__ import annotations

import pytest
import torch

from vit_convert.architectures import Overrides, architecture
from vit_convert.checkpoint.tensor import LazyTensor
from vit_convert.dialects import read_as_canonical
from vit_convert.errors import RecognitionError
from vit_convert.parity.sources.torch_compat import import_vision

timm = import_vision("timm")


def recognise(name: str) -> None:
    """A checkpoint of timm's model of that name, of shapes alone."""
    with torch.device("meta"):
        model = timm.create_model(name)
    tensors = {
        key: LazyTensor(key, tuple(value.shape), "float32", lambda: pytest.fail("was read"))
        for key, value in model.state_dict().items()
    }
    ledger = read_as_canonical(tensors, name)
    shapes = {key: tensor.shape for key, tensor in ledger.tensors.items()}
    architecture(ledger.dialect.architecture).recognise(shapes, Overrides(), "model")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("resnet18", "a ResNet"),
        ("convnext_atto", "a ConvNeXt"),
        ("swin_tiny_patch4_window7_224", "windowed attention of Swin: not a ViT"),
        ("swinv2_tiny_window8_256", "Swin V2"),
        ("swinv2_cr_tiny_224", "Swin V2"),
        ("samvit_base_patch16", "windowed attention of SAM"),
        ("mvitv2_tiny", "MViT"),
        ("hiera_tiny_224", "Hiera"),
        ("hieradet_small", "Hiera"),
        ("levit_128", "LeViT"),
        ("xcit_nano_12_p16_224", "XCiT"),
        ("pit_ti_224", "PiT"),
        ("tnt_s_legacy_patch16_224", "TNT"),
        ("crossvit_tiny_240", "CrossViT"),
        ("pvt_v2_b0", "PVT"),
        ("twins_svt_small", "Twins"),
        ("convit_tiny", "ConViT"),
        ("coat_tiny", "CoaT"),
        ("volo_d1_224", "VOLO"),
        ("nest_tiny", "NesT"),
        ("davit_tiny", "DaViT"),
        ("maxvit_tiny_rw_224", "MaxViT"),
        ("gcvit_xxtiny", "GCViT"),
        ("mixer_s32_224", "MLP-Mixer"),
        ("vit_tiny_r_s16_p8_224", "hybrid"),
        ("vit_base_r26_s32_224", "hybrid"),
        ("naflexvit_base_patch16_gap", "NaFlexViT"),
        ("vit_relpos_small_patch16_224", "not BEiT's"),
        ("vit_srelpos_small_patch16_224", "not BEiT's"),
        ("vit_dwee_patch16_reg1_gap_256", "differential attention"),
        ("vit_base_patch16_xp_224", "one layer"),
    ],
)
def test_other_models_are_refused_by_name(name: str, says: str) -> None:
    with pytest.raises(RecognitionError) as error:
        recognise(name)
    assert says in error.value.what
