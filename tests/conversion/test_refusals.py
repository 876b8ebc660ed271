"""What is not converted is refused by its true name: by config.json, or by the tensors' names."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from families import randomise
from schemes import SCHEMES, vit
from transformers_sources import HF, TEXT, transformers

from vit_convert.checkpoint import Checkpoint, open_checkpoint
from vit_convert.checkpoint.tensor import LazyTensor
from vit_convert.conversion.convert import recognise
from vit_convert.dialects.unsupported import UNSUPPORTED
from vit_convert.errors import VitConvertError
from vit_convert.hf_config.towers import DEFAULTS, SUPPORTED, model_types

transformers.utils.logging.set_verbosity_error()
from transformers.models.auto import modeling_auto  # noqa: E402  # after torchvision

_TASKS = (
    "IMAGE_CLASSIFICATION",
    "BACKBONE",
    "MASKED_IMAGE_MODELING",
    "VIDEO_CLASSIFICATION",
    "IMAGE",
    "ZERO_SHOT_IMAGE_CLASSIFICATION",
    "OBJECT_DETECTION",
    "ZERO_SHOT_OBJECT_DETECTION",
    "SEMANTIC_SEGMENTATION",
    "UNIVERSAL_SEGMENTATION",
    "DEPTH_ESTIMATION",
    "MASK_GENERATION",
    "KEYPOINT_DETECTION",
    "KEYPOINT_MATCHING",
    "IMAGE_MATTING",
)
# model_type -> the first class that transformers has for it
CLASSES: dict[str, str] = {}
for _task in _TASKS:
    for _kind, _names in getattr(modeling_auto, f"MODEL_FOR_{_task}_MAPPING_NAMES").items():
        CLASSES.setdefault(_kind, _names if isinstance(_names, str) else _names[0])
# reasons that would be false for all of these
_FALSE = ("of another model", "no square number", "--pool", "--image-size", "--num-heads")


def refusal(checkpoint: Checkpoint) -> str:
    """The message with which a checkpoint is refused."""
    with pytest.raises(VitConvertError) as caught:
        recognise(checkpoint)
    message = caught.value.message()
    assert not any(reason in message for reason in _FALSE), message
    return message


def shallow(config: Any) -> None:
    """Two layers, here and in the configurations inside."""
    for key, value in vars(config).items():
        if isinstance(value, transformers.PretrainedConfig):
            shallow(value)
        elif key in ("num_hidden_layers", "encoder_layers", "decoder_layers"):
            setattr(config, key, min(value, 2))


def types_of(config: Any) -> tuple[str, ...]:
    return model_types(config.to_dict())


def unread(state: dict[str, torch.Tensor], folder: Path) -> Checkpoint:
    """A checkpoint of names and shapes, of which no tensor can be read."""
    tensors = {
        name: LazyTensor(name, tuple(value.shape), "float32", lambda: pytest.fail("was read"))
        for name, value in state.items()
    }
    return Checkpoint(folder / "model.safetensors", "safetensors", "", ("",), tensors)


def test_every_type_of_vision_model_is_known() -> None:
    """By its own type or its tower's; the types of transformers' language models are not listed."""
    unknown = set()
    for kind in CLASSES:
        if not {kind} & (SUPPORTED | UNSUPPORTED.keys()):
            kinds = types_of(transformers.CONFIG_MAPPING[kind]())
            if not set(kinds) & (SUPPORTED | UNSUPPORTED.keys()):
                unknown.add(kind)
    assert unknown == set()
    assert not SUPPORTED & UNSUPPORTED.keys()


@pytest.mark.parametrize("kind", DEFAULTS)
def test_what_config_json_leaves_out_is_what_the_class_has_by_default(kind: str) -> None:
    config = transformers.CONFIG_MAPPING[kind]()
    for key, value in DEFAULTS[kind].items():
        assert getattr(config, key) == value or config.rope_parameters[key] == value


# timm's wrapper says which of timm's architectures it holds, and that is what is named
@pytest.mark.parametrize("kind", sorted((CLASSES.keys() & UNSUPPORTED.keys()) - {"timm_wrapper"}))
def test_a_type_that_is_not_supported_is_named(kind: str, tmp_path: Path) -> None:
    """As config.json says it, on names and shapes of the real class."""
    model_class = getattr(transformers, CLASSES[kind])
    config = model_class.config_class()
    if config.model_type not in UNSUPPORTED:  # one class for several types
        config.model_type = kind
    shallow(config)
    try:
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of parameters without elements
            state = model_class(config).state_dict()
    except (ImportError, TypeError, ValueError) as error:
        pytest.skip(f"transformers makes none by default: {error}")
    config.save_pretrained(tmp_path)
    message = refusal(unread(state, tmp_path))
    title, reason = UNSUPPORTED[config.model_type]
    assert f"this is {title}, by its config.json: {reason}" in message
    assert "model_type" in message


def _small(name: str, **changes: Any) -> Callable[[], Any]:
    return lambda: getattr(transformers, name)(
        getattr(transformers, name).config_class(**HF | changes)
    )


def _internvl() -> Any:
    vision = transformers.InternVLVisionConfig(**HF, use_qk_norm=True)
    text = transformers.Qwen2Config(**TEXT, num_key_value_heads=1)
    config = transformers.InternVLConfig(vision_config=vision, text_config=text)
    return transformers.InternVLForConditionalGeneration(config)


def _swin(name: str) -> Callable[[], Any]:
    sizes = {key: HF[key] for key in ("image_size", "patch_size")}
    model_class = getattr(transformers, name)
    return lambda: model_class(
        model_class.config_class(
            **sizes, embed_dim=12, depths=[1, 1], num_heads=[3, 3], window_size=2
        )
    )


# what is really saved: how it is made, what is said with config.json, and what without
SAVED: dict[str, tuple[Callable[[], Any], str, str]] = {
    "YOLOS": (
        _small("YolosForObjectDetection", image_size=[16, 20], num_detection_tokens=3),
        "this is a YOLOS",
        "a YOLOS, whose detection tokens",
    ),
    "Pixio": (_small("PixioModel", n_cls_tokens=3), "this is a Pixio", "3 class tokens"),
    "ViTPose": (
        _small("VitPoseBackbone", image_size=[16, 12]),
        "this is a ViTPose",
        "no rule knows it",
    ),
    "VideoMAE": (
        _small("VideoMAEForVideoClassification", num_frames=4),
        "this is a VideoMAE",
        "span several frames",
    ),
    "ViViT": (
        _small("VivitForVideoClassification", tubelet_size=[2, 4, 4], num_frames=4),
        "this is a ViViT",
        "span several frames",
    ),
    "TimeSformer": (
        _small("TimesformerForVideoClassification", num_frames=2),
        "this is a TimeSformer",
        "this is a TimeSformer",
    ),
    "MLCD": (
        _small("MLCDVisionModel", hidden_size=24),
        "this is an MLCD",
        "this looks like an MLCD",
    ),
    "Swin": (
        _swin("SwinForImageClassification"),
        "this is a Swin Transformer",
        "Swin",
    ),
    "Swin V2": (
        _swin("Swinv2ForImageClassification"),
        "this is a Swin Transformer V2",
        "Swin",
    ),
    "ConvNeXt": (
        _small("ConvNextForImageClassification", hidden_sizes=[4, 8, 12, 16], depths=[1, 1, 1, 1]),
        "this is a ConvNeXt",
        "this is a ConvNeXt",
    ),
    "ResNet": (
        _small(
            "ResNetForImageClassification",
            embedding_size=4,
            hidden_sizes=[4, 8],
            depths=[1, 1],
            layer_type="basic",
        ),
        "this is a ResNet",
        "this is a ResNet",
    ),
    "PoolFormer": (
        _small("PoolFormerForImageClassification", hidden_sizes=[4, 8, 12, 16]),
        "this is a PoolFormer",
        "this is a PoolFormer",
    ),
    "AIMv2 with its head": (
        _small("Aimv2VisionModel"),
        "attention pooling by a query as it is",
        "attention pooling by a query as it is",
    ),
    "AIMv2 native": (
        _small("Aimv2VisionModel", is_native=True),
        "computes its positions from the picture's size",
        "computes its positions from the picture's size",
    ),
    "InternVL with norms of q and k": (
        _internvl,
        "RMSNorm over all heads of q and k",
        "RMSNorm over all heads of q and k",
    ),
}


@pytest.mark.parametrize("name", SAVED)
def test_what_is_saved_is_refused_by_name_with_and_without_config_json(
    name: str, tmp_path: Path
) -> None:
    make, with_config, without = SAVED[name]
    randomise(make()).save_pretrained(tmp_path)
    assert with_config in refusal(open_checkpoint(tmp_path))
    (tmp_path / "config.json").unlink()
    assert without in refusal(open_checkpoint(tmp_path))


@pytest.fixture
def saved_vit(tmp_path: Path) -> Path:
    scheme = next(s for s in SCHEMES if s.name == "transformers ViTForImageClassification")
    return scheme.save(tmp_path)[0]


def state_type(folder: Path, kind: str) -> None:
    """Change the model_type of a config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_type": kind}))


def test_tensors_of_a_vit_that_config_json_calls_another_model_are_refused(
    saved_vit: Path,
) -> None:
    recognise(open_checkpoint(saved_vit))
    state_type(saved_vit, "swin")
    message = refusal(open_checkpoint(saved_vit))
    assert "this is a Swin Transformer, by its config.json" in message
    assert "if that file belongs to another checkpoint" in message


def test_a_config_json_beside_tensors_that_it_cannot_describe_says_nothing(tmp_path: Path) -> None:
    """A checkpoint of timm's in a folder with the config.json of some other model."""
    from schemes import HEADED

    torch.save(vit().state_dict(), tmp_path / "model.pth")
    (tmp_path / "config.json").write_text('{"model_type": "swin"}')
    recognise(open_checkpoint(tmp_path / "model.pth"), HEADED)


def test_a_type_that_nothing_is_known_of_is_named(tmp_path: Path) -> None:
    torch.save({"model.embed_tokens.weight": torch.zeros(3, 2)}, tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text('{"model_type": "llama\\u001b[31m"}')
    message = refusal(open_checkpoint(tmp_path))
    assert "config.json says model_type 'llama\\\\x1b[31m', which is no model here" in message


@pytest.mark.parametrize("content", ["{", "[]", '{"model_type": 7}', '{"vision_config": 3}'])
def test_a_broken_config_json_does_not_hide_why_it_failed(content: str, tmp_path: Path) -> None:
    torch.save({"layer1.0.conv1.weight": torch.zeros(3, 2)}, tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text(content)
    assert "a ResNet" in refusal(open_checkpoint(tmp_path))
