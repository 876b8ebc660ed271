"""Models that are no ViT, or one of a kind that is not supported, are refused by name."""

from __future__ import annotations

import pytest
import torch

from vit_convert.architectures import Overrides, architecture
from vit_convert.checkpoint.tensor import LazyTensor
from vit_convert.dialects import read_as_canonical
from vit_convert.dialects.unsupported_timm import timm_refusal
from vit_convert.errors import RecognitionError
from vit_convert.parity.sources.torch_compat import import_vision

timm = import_vision("timm")
transformers = import_vision("transformers")


def recognise(name: str) -> None:
    """A checkpoint of timm's model of that name, of shapes alone."""
    with torch.device("meta"):
        model = timm.create_model(name)
    recognise_shapes({key: tuple(value.shape) for key, value in model.state_dict().items()})


def recognise_shapes(given: dict[str, tuple[int, ...]]) -> None:
    tensors = {
        key: LazyTensor(key, shape, "float32", lambda: pytest.fail("was read"))
        for key, shape in given.items()
    }
    ledger = read_as_canonical(tensors, "model")
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
        ("tiny_vit_5m_224", "TinyViT"),
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


def of_timm(name: str, **changes: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of timm's model, with parts of the names changed."""
    with torch.device("meta"):
        state = timm.create_model(name).state_dict()
    found = {}
    for key, value in state.items():
        for part, instead in changes.items():
            key = key.replace(part, instead)
        found[f"image_encoder.{key}"] = tuple(value.shape)
    return found


def of_transformers(name: str, config: str) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        state = getattr(transformers, name)(getattr(transformers, config)()).state_dict()
    return {key: tuple(value.shape) for key, value in state.items()}


# beside the image encoder, in the files that Segment Anything's own code saves
DECODER = {"mask_decoder.iou_token.weight": (1, 256), "prompt_encoder.no_mask_embed.weight": (1, 8)}


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: of_timm("samvit_base_patch16") | DECODER, "SAM"),
        (lambda: of_timm("hieradet_small", blocks="trunk.blocks") | DECODER, "Hiera"),
        (lambda: of_timm("tiny_vit_5m_224", stages="layers") | DECODER, "TinyViT"),
        (lambda: of_transformers("SamModel", "SamConfig"), "SAM"),
        (lambda: of_transformers("SamVisionModel", "SamVisionConfig"), "SAM"),
        (lambda: of_transformers("Sam2Model", "Sam2Config"), "Hiera"),
        (lambda: of_transformers("Sam2VisionModel", "Sam2VisionConfig"), "Hiera"),
    ],
)
def test_models_of_segment_anything_are_refused_by_name_without_a_config(make, says: str) -> None:
    with pytest.raises(RecognitionError) as error:
        recognise_shapes(make())
    assert says in error.value.what
    assert "not a" in error.value.what


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Swin", "Swin Transformer"),
        ("Segformer", "SegFormer"),
        ("ResNet", "ResNet"),
        ("FocalNet", "FocalNet"),
        ("Pvt", "PVT"),
        ("EfficientNet", "EfficientNet"),
    ],
)
def test_the_model_inside_a_classifier_of_transformers_tells_what_it_is(
    name: str, says: str
) -> None:
    shapes = of_transformers(f"{name}ForImageClassification", f"{name}Config")
    with pytest.raises(RecognitionError) as error:
        recognise_shapes(shapes)
    assert f"by their names this is a{'n' if says[0] == 'E' else ''} {says}" in error.value.what


@pytest.mark.parametrize(
    ("name", "says"),
    [
        *((name, "") for name in ("vit_base_patch16_224", "vit_new_size", "cait_xxs24_224")),
        *((name, "") for name in ("deit3_small_patch16_224", "eva02_tiny_patch14_224")),
        ("xcit_nano_12_p16_224", "an XCiT: its attention is over channels, not over tokens"),
        ("mixer_b16_224", "an MLP-Mixer: it has no attention"),
        ("unheard_of_base", "no model that is known here"),
    ],
)
def test_the_name_of_timms_model_tells_what_it_is(name: str, says: str) -> None:
    """Of families that are known here it is the tensors that tell."""
    assert timm_refusal(name) == says
