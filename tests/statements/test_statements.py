"""What files beside a checkpoint and training scripts inside it say, and what they must not do."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from families import randomise

from vit_convert.architectures import Overrides
from vit_convert.checkpoint import open_checkpoint
from vit_convert.conversion.convert import Conversion, recognise
from vit_convert.errors import CheckpointError, MappingError, RecognitionError
from vit_convert.parity.sources.torch_compat import import_vision

torch = pytest.importorskip("torch")
timm = import_vision("timm")
OPTIONS = {"depth": 2, "img_size": 48, "patch_size": 16, "embed_dim": 192, "num_classes": 7}
PICTURES = {
    "mean": (0.1, 0.2, 0.3),
    "std": (0.4, 0.5, 0.6),
    "crop_pct": 0.83,
    "interpolation": "bilinear",
    "crop_mode": "squash",
}


def make(name: str = "vit_tiny_patch16_224", **options: Any) -> Any:
    torch.manual_seed(0)
    return timm.create_model(name, **OPTIONS | options)


def save_timm(folder: Path, model: Any, **options: Any) -> Path:
    """A folder as timm's push_to_hf_hub uploads it."""
    from timm.models import save_for_hf

    save_for_hf(model, str(folder), safe_serialization=True, **options)
    return folder


def change(folder: Path, name: str = "config.json", **values: Any) -> None:
    path = folder / name
    data = json.loads(path.read_text())
    for key, value in values.items():
        *parents, last = key.split("__")
        table = data
        for parent in parents:
            table = table.setdefault(parent, {})
        table[last] = value
    path.write_text(json.dumps(data))


def look(path: Path, **overrides: Any) -> Conversion:
    return recognise(open_checkpoint(path), Overrides(**overrides))


def known(found: Conversion, name: str) -> tuple[Any, str]:
    fact = found.recognition.facts[name]
    return fact.value, fact.provenance


# timm's folders


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vit_tiny_patch16_224", {"num_heads": 4, "act_layer": "gelu_tanh"}),
        ("vit_tiny_patch16_224", {"num_heads": 6, "act_layer": "quick_gelu", "global_pool": "avg"}),
        ("vit_tiny_patch16_224", {"num_heads": 2, "global_pool": "avgmax", "fc_norm": False}),
        ("deit3_small_patch16_224", {"num_heads": 8, "act_layer": "relu"}),
        ("eva02_tiny_patch14_224", {"num_heads": 6, "rope_temperature": 77.0}),
        (
            "eva02_tiny_patch14_224",
            {"num_heads": 3, "rope_type": "dinov3", "rope_grid_indexing": "ij"}
            | {"rope_grid_offset": 0, "rope_rotate_half": True, "ref_feat_shape": (3, 3)},
        ),
    ],
    ids=str,
)
def test_a_folder_of_timms_says_all(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    model = make(name, **options)
    found = look(save_timm(tmp_path, model, data_config=dict(PICTURES)))
    config = found.recognition.config
    assert known(found, "num_heads") == (options["num_heads"], "read")
    assert vars(found.recognition.preprocessing) == PICTURES
    assert config.pool == model.global_pool
    assert found.recognition.facts["mean"].why == "config.json: pretrained_cfg.mean"
    activations = {"gelu_tanh": "tanh", "quick_gelu": "quick", "relu": "relu"}
    if "act_layer" in options:
        assert known(found, "gelu") == (activations[options["act_layer"]], "read")
    if "rope_temperature" in options:
        assert known(found, "rotary_base") == (77.0, "read")
    if "rope_type" in options:
        assert known(found, "rotary") == (options["rope_type"], "read")
    assert all(known(found, key)[1] == "read" for key in ("pool", "crop_pct", "crop_mode"))


def test_the_name_is_stated(tmp_path: Path) -> None:
    save_timm(tmp_path, make())
    change(tmp_path, architecture="vit_tiny_patch16_224.augreg_in21k")
    found = look(tmp_path).recognition
    assert found.variant == "vit_tiny_patch16_224.augreg_in21k"
    assert "config.json: architecture" in found.facts["norm_eps"].why
    assert found.facts["norm_eps"].provenance == "published"


def test_what_timms_file_leaves_out_is_timms_default(tmp_path: Path) -> None:
    save_timm(tmp_path, make())
    data = json.loads((tmp_path / "config.json").read_text())
    for key in ("mean", "std", "crop_pct", "interpolation", "crop_mode"):
        del data["pretrained_cfg"][key]
    (tmp_path / "config.json").write_text(json.dumps(data))
    found = look(tmp_path).recognition
    theirs = timm.data.resolve_data_config(pretrained_cfg=data["pretrained_cfg"])
    assert vars(found.preprocessing) == {key: theirs[key] for key in PICTURES}
    assert "has a default" in found.facts["mean"].why


def test_an_old_folder_of_timms(tmp_path: Path) -> None:
    """Up to 0.6 it was one table."""
    model = published("vit_tiny_patch16_224")
    torch.save(model, tmp_path / "pytorch_model.bin")
    old = {"architecture": "vit_tiny_patch16_224", "num_classes": 7, "input_size": [3, 224, 224]}
    old |= {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "crop_pct": 0.7, "num_features": 192}
    (tmp_path / "config.json").write_text(json.dumps(old))
    found = look(tmp_path).recognition
    assert (found.preprocessing.mean, found.preprocessing.crop_pct) == ((0.1, 0.2, 0.3), 0.7)


def test_one_mean_holds_for_all_channels(tmp_path: Path) -> None:
    found = look(save_timm(tmp_path, make(in_chans=1))).recognition
    assert (found.config.in_channels, found.preprocessing.mean) == (1, (0.5, 0.5, 0.5))


@pytest.mark.parametrize("gaps", [False, True])
def test_names_of_classes(gaps: bool, tmp_path: Path) -> None:
    names: Any = [f"n{i}" for i in range(7)]
    if gaps:
        names = {1: "n1", 4: "n4"}
    described = {"label_names": names, "label_descriptions": {"n4": "four, quattuor"}}
    labels = look(save_timm(tmp_path, make(), model_config=described)).spec.labels
    rest = [str(i) if gaps else f"n{i}" for i in range(7)]
    assert labels == (rest[0], "n1", *rest[2:4], "four, quattuor", *rest[5:])


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("pretrained_cfg__mean", [0.5, 0.5], "three numbers"),
        ("pretrained_cfg__mean", [123.675, 116.28, 103.53], "pixels in 0..255"),
        ("pretrained_cfg__std", [58.395, 57.12, 57.375], "0.229,0.224,0.225"),
        ("pretrained_cfg__std", [0, 1, 1], "above 0"),
        ("pretrained_cfg__std", "0.5", "three numbers"),
        ("pretrained_cfg__crop_pct", 87.5, "0.875"),
        ("pretrained_cfg__crop_pct", float("nan"), "a fraction"),
        ("pretrained_cfg__interpolation", "lanczos", "bicubic, bilinear"),
        ("pretrained_cfg__crop_mode", "border", "center, squash"),
        ("pretrained_cfg__input_size", [3, 48], "channels, height and width"),
        ("pretrained_cfg__input_size", [3, 10**9, 48], "height and width"),
        ("pretrained_cfg", ["mean"], "a table"),
        ("model_args", "num_heads=3", "a table"),
        ("model_args__num_heads", "many", "a whole number"),
        ("model_args__num_heads", 10**30, "a whole number"),
        ("model_args__act_layer", "mish", "gelu_tanh"),
        ("model_args__act_layer", ["gelu"], "gelu_tanh"),
        ("model_args__norm_layer", "batchnorm", "layernorm"),
        ("model_args__global_pool", "prr", "avgmax"),
        ("model_args__qkv_bias", 1, "true or false"),
        ("model_args__rope_grid_indexing", "xy", "together"),
        ("model_args__rope_rotate_half", True, "together"),
        ("model_args__rope_type", "cat", "together"),
        ("num_classes", -1, "from 0"),
        ("num_classes", 10**9, "to 1000000"),
        ("label_names", {"9": "a"}, "classes 0 to 6"),
        ("label_names", [1, 2], "texts"),
    ],
    ids=str,
)
def test_impossible_values_of_timms_file(key: str, value: Any, says: str, tmp_path: Path) -> None:
    save_timm(tmp_path, make())
    change(tmp_path, **{key: value})
    with pytest.raises(CheckpointError) as error:
        look(tmp_path)
    assert says in error.value.message()
    assert error.value.where.endswith("config.json")
    assert "folder of its own" in error.value.hint


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("model_args__embed_dim", 64, "embed_dim is 64 (config.json: model_args.embed_dim)"),
        ("model_args__depth", 3, "depth is 3"),
        ("model_args__img_size", 64, "image_size is 64x64"),
        ("model_args__qkv_bias", False, "qkv_bias is False"),
        ("model_args__class_token", False, "class_token is False"),
        ("model_args__reg_tokens", 4, "reg_tokens is 4"),
    ],
)
def test_timms_file_of_another_model(key: str, value: Any, says: str, tmp_path: Path) -> None:
    save_timm(tmp_path, make())
    change(tmp_path, num_features=value if key.endswith("embed_dim") else 192, **{key: value})
    with pytest.raises(RecognitionError, match="of another model") as error:
        look(tmp_path)
    assert says in error.value.what


def test_a_recommended_size_is_no_contradiction(tmp_path: Path) -> None:
    save_timm(tmp_path, make(dynamic_img_size=True))
    change(tmp_path, pretrained_cfg__input_size=[3, 96, 96])
    assert look(tmp_path).recognition.config.image_size == (48, 48)


def test_a_config_json_of_something_else_says_nothing(tmp_path: Path) -> None:
    torch.save(make(num_heads=3).state_dict(), tmp_path / "model.pth")
    (tmp_path / "config.json").write_text(json.dumps({"mean": [9, 9, 9], "model": "mine"}))
    assert look(tmp_path / "model.pth").recognition.facts["mean"].why.endswith("shapes")


# training scripts

TIMM_ARGS = {
    "model": "vit_tiny_patch16_224.augreg_in21k_ft_in1k",
    "num_classes": 7,
    "gp": None,
    "img_size": None,
    "input_size": None,
    "in_chans": None,
    "crop_pct": None,
    "mean": None,
    "std": None,
    "interpolation": "",
    "model_kwargs": {"embed_dim": 192, "depth": 2, "img_size": 48, "num_heads": 4},
    "opt": "sgd",
    "lr": 0.1,
}


def published(name: str, **options: Any) -> dict[str, Any]:
    """The state dict of a whole published model, whose tensors take no room."""
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=7, **options)
    zero = torch.zeros(())
    return {name: zero.expand(value.shape) for name, value in model.state_dict().items()}


def save_args(folder: Path, args: dict[str, Any], model: Any = None, **more: Any) -> Path:
    """As timm's CheckpointSaver writes it."""
    path = folder / "last.pth.tar"
    state = model if isinstance(model, dict) else (model or make()).state_dict()
    torch.save({"epoch": 3, "state_dict": state, "args": Namespace(**args), **more}, path)
    return path


def test_timms_train_py(tmp_path: Path) -> None:
    args = TIMM_ARGS | {"mean": [0.11, 0.22, 0.33], "std": [0.5], "crop_pct": 0.91}
    args |= {"interpolation": "bilinear", "gp": "avg"}
    path = save_args(tmp_path, args, arch=args["model"])
    found = look(path)
    assert known(found, "num_heads") == (4, "read")
    assert (
        found.recognition.facts["num_heads"].why == "args.model_kwargs.num_heads in the checkpoint"
    )
    assert known(found, "mean") == ((0.11, 0.22, 0.33), "read")
    assert known(found, "std") == ((0.5, 0.5, 0.5), "read")
    assert known(found, "crop_pct") == (0.91, "read")
    assert known(found, "interpolation") == ("bilinear", "read")
    assert known(found, "pool") == ("avg", "read")
    assert found.recognition.variant.partition(".")[0] == "vit_tiny_patch16_224"


def test_an_absent_mean_is_no_statement(tmp_path: Path) -> None:
    assert known(look(save_args(tmp_path, TIMM_ARGS)), "mean")[1] != "read"


IMAGENET = (0.485, 0.456, 0.406)


@pytest.mark.parametrize(
    ("args", "model", "variant", "facts"),
    [
        (  # DeiT's main.py
            {"model": "deit_tiny_patch16_224", "input_size": 224, "nb_classes": 7}
            | {"eval_crop_ratio": 0.86},
            "deit_tiny_patch16_224",
            "deit_tiny_patch16_224",
            {"mean": IMAGENET, "crop_pct": 0.86, "num_heads": 3},
        ),
        (  # MAE's main_finetune.py
            {"model": "vit_base_patch16", "input_size": 224, "nb_classes": 7, "global_pool": True},
            "vit_base_patch16_224.mae",
            "vit_base_patch16_224.mae",
            {"mean": IMAGENET, "crop_pct": 0.875, "pool": "avg", "num_heads": 12},
        ),
        (
            {"model": "mae_vit_base_patch16_dec512d8b", "input_size": 224},
            "vit_base_patch16_224",
            "vit_base_patch16_224.mae",
            {"mean": IMAGENET, "num_heads": 12},
        ),
        (
            {"arch": "vit_small", "patch_size": 8},
            "vit_small_patch8_224",
            "vit_small_patch8_224.dino",
            {"mean": IMAGENET, "num_heads": 6},
        ),
        (  # timm's train.py, which prepares pictures as the tag says
            TIMM_ARGS | {"model": "vit_base_patch16_224.mae", "model_kwargs": {}},
            "vit_base_patch16_224",
            "vit_base_patch16_224.mae",
            {"mean": IMAGENET, "num_heads": 12},
        ),
    ],
    ids=str,
)
def test_scripts_name_published_models(
    args: dict[str, Any], model: str, variant: str, facts: dict[str, Any], tmp_path: Path
) -> None:
    options = {"global_pool": "avg"} if args.get("global_pool") else {}
    found = look(save_args(tmp_path, args, published(model, **options))).recognition
    assert found.variant == variant
    assert {name: found.facts[name].value for name in facts} == facts
    assert {found.facts[name].provenance for name in facts} <= {"read", "published"}


def test_a_number_of_heads(tmp_path: Path) -> None:
    assert known(look(save_args(tmp_path, {"num_heads": 6})), "num_heads") == (6, "read")


def test_a_name_of_another_model(tmp_path: Path) -> None:
    path = save_args(tmp_path, {"model": "vit_small_patch16_224"}, make(num_heads=3))
    with pytest.raises(RecognitionError, match="is no vit_small_patch16_224") as error:
        look(path)
    assert "args.model in the checkpoint" in error.value.message()
    assert "state dict alone" in error.value.hint


def test_torchvisions_reference_script(tmp_path: Path) -> None:
    with torch.device("meta"):
        model = import_vision("torchvision").models.vit_b_16(num_classes=7)
    zero = torch.zeros(())
    state = {name: zero.expand(value.shape) for name, value in model.state_dict().items()}
    args = {"model": "vit_b_16", "val_crop_size": 224, "val_resize_size": 299}
    found = look(save_args(tmp_path, args | {"interpolation": "bicubic"}, state))
    assert known(found, "crop_pct") == (224 / 299, "read")
    assert known(found, "interpolation") == ("bicubic", "read")
    assert found.recognition.variant == "vit_b_16"


def test_lightning(tmp_path: Path) -> None:
    parameters = {"model_name": "vit_tiny_patch16_224", "num_heads": 6, "lr": 1e-3}
    parameters |= {"mean": [0.1, 0.2, 0.3], "std": {"not": "these"}, "image_size": 999}
    path = tmp_path / "epoch=3.ckpt"
    model = published("vit_tiny_patch16_224")
    torch.save({"state_dict": model, "hyper_parameters": parameters}, path)
    found = look(path)
    assert known(found, "num_heads") == (6, "read")
    assert known(found, "mean") == ((0.1, 0.2, 0.3), "read")
    assert found.recognition.variant.partition(".")[0] == "vit_tiny_patch16_224"


def test_the_metadata_of_safetensors(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    metadata = {
        "architecture": "vit_tiny_patch16_224",
        "pretrained_cfg": json.dumps({"mean": [0.1, 0.2, 0.3], "input_size": [3, 48, 48]}),
        "model_args": json.dumps({"num_heads": 4, **OPTIONS}),
        "args": "{not json",
    }
    save_file(make().state_dict(), tmp_path / "model.safetensors", metadata)
    found = look(tmp_path / "model.safetensors")
    assert known(found, "num_heads") == (4, "read")
    assert known(found, "mean") == ((0.1, 0.2, 0.3), "read")


@pytest.mark.parametrize(
    "value",
    [
        "mine",
        3.5,
        [],
        ["a"],
        {},
        {"x": 1},
        None,
        True,
        (1, 2, 3, 4),
        b"x",
        float("nan"),
        -1,
        10**40,
    ],
    ids=str,
)
def test_any_value_in_a_script_is_harmless(value: Any, tmp_path: Path) -> None:
    """It is no statement, or an error that says which key; nothing else."""
    keys = [*TIMM_ARGS, "arch", "patch_size", "nb_classes", "global_pool", "val_crop_size"]
    keys += ["val_resize_size", "num_heads", "eval_crop_ratio", "crop_mode"]
    state = make(embed_dim=64, depth=1, num_heads=1).state_dict()
    for key in keys:
        path = tmp_path / f"{key}.pth"
        parameters = {key: value, 3: 4}
        torch.save(
            {
                "state_dict": state,
                "args": Namespace(**{key: value}),
                "hyper_parameters": parameters,
            },
            path,
        )
        said = ""
        try:
            look(path)
        except (CheckpointError, RecognitionError) as error:
            said = error.message()
        assert not said or key in said


def test_means_of_pixels_in_a_script(tmp_path: Path) -> None:
    path = save_args(tmp_path, TIMM_ARGS | {"mean": [123.675, 116.28, 103.53]})
    with pytest.raises(CheckpointError, match=r"pixels in 0\.\.255") as error:
        look(path)
    assert error.value.hint == "--mean 0.485,0.456,0.406 states it"
    assert known(look(path, mean=(0.485, 0.456, 0.406)), "mean")[1] == "given"


# contradictions


@pytest.mark.parametrize(
    ("values", "args", "says", "option"),
    [
        (
            {"pretrained_cfg__mean": [0.1, 0.2, 0.3]},
            {"mean": [0.4, 0.5, 0.6]},
            "mean is 0.1,0.2,0.3 (config.json: pretrained_cfg.mean), "
            "but 0.4,0.5,0.6 (args.mean in the checkpoint)",
            {"mean": (0.7, 0.7, 0.7)},
        ),
        (
            {"model_args__num_heads": 6},
            {},
            "num_heads is 6 (config.json: model_args.num_heads), "
            "but 4 (args.model_kwargs.num_heads in the checkpoint)",
            {"num_heads": 3},
        ),
        (
            {"pretrained_cfg__crop_pct": 0.9},
            {"crop_pct": 0.95},
            "crop_pct is 0.9 (config.json: pretrained_cfg.crop_pct), "
            "but 0.95 (args.crop_pct in the checkpoint)",
            {"crop_pct": 1.0},
        ),
        (
            {"global_pool": "avg", "model_args__global_pool": "token"},
            {},
            "pool is token (config.json: model_args.global_pool), "
            "but avg (config.json: global_pool)",
            {"pool": "avg"},
        ),
        (
            {"architecture": "deit_tiny_patch16_224"},
            {},
            "variant is deit_tiny_patch16_224 (config.json: architecture), "
            "but vit_tiny_patch16_224.augreg_in21k_ft_in1k (args.model in the checkpoint)",
            {},
        ),
    ],
)
def test_contradictions(
    values: dict[str, Any], args: dict[str, Any], says: str, option: dict[str, Any], tmp_path: Path
) -> None:
    model = make(num_heads=4)
    save_timm(tmp_path, model)
    change(tmp_path, **values)
    path = save_args(tmp_path, TIMM_ARGS | args, model)
    with pytest.raises(RecognitionError) as error:
        look(path)
    assert says in error.value.what
    assert "folder of its own" in error.value.hint
    if option:
        (name, value), *_ = option.items()
        assert f"--{name.replace('_', '-')}" in error.value.hint
        assert known(look(path, **option), name) == (value, "given")


def test_equal_statements_agree(tmp_path: Path) -> None:
    model = make(num_heads=4)
    save_timm(tmp_path, model)
    change(tmp_path, pretrained_cfg__mean=[0.48145466, 0.4578275, 0.40821073])
    path = save_args(tmp_path, TIMM_ARGS | {"mean": [0.4814546704, 0.45782750, 0.40821072]}, model)
    assert known(look(path), "num_heads") == (4, "read")


def test_the_user_settles_what_the_tensors_contradict(tmp_path: Path) -> None:
    model = published("vit_tiny_patch16_224", img_size=48)
    args = TIMM_ARGS | {"model_kwargs": {}, "input_size": [3, 64, 64]}
    path = save_args(tmp_path, args, model)
    with pytest.raises(RecognitionError, match="image_size is 64x64") as error:
        look(path)
    assert "args.input_size in the checkpoint" in error.value.what
    assert look(path, image_size=(48, 48)).recognition.config.image_size == (48, 48)


def test_another_head_than_the_script_says(tmp_path: Path) -> None:
    path = save_args(tmp_path, TIMM_ARGS | {"num_classes": 1000})
    with pytest.raises(RecognitionError, match="num_classes is 1000") as error:
        look(path)
    assert "the tensors say 7" in error.value.what
    assert "--num-classes" not in error.value.hint  # which would start a fresh head
    assert "state dict alone" in error.value.hint


# refusals


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("swin_tiny_patch4_window7_224", "a Swin Transformer: its attention sees windows"),
        ("resnet18", "a ResNet: it is a convolutional network"),
        ("xcit_nano_12_p16_224", "an XCiT: its attention is over channels"),
        ("convnext_atto", "a ConvNeXt"),
        ("mobilevit_xxs", "a MobileViT"),
        ("bat_resnext26ts", "no model that is known here"),
    ],
)
@pytest.mark.parametrize("inside", [False, True])
def test_refusals_name_the_architecture(name: str, says: str, inside: bool, tmp_path: Path) -> None:
    model = timm.create_model(name)
    if inside:
        path = save_args(tmp_path, TIMM_ARGS | {"model": name}, model)
    else:
        path = save_timm(tmp_path, model)
    with pytest.raises(RecognitionError) as error:
        look(path)
    assert says in error.value.what
    assert f"this is timm's {name}, by " in error.value.what


def test_a_wrong_name_beside_a_vit_is_not_its_refusal(tmp_path: Path) -> None:
    """Where the tensors are a ViT's, an architecture's name is only a name."""
    assert look(save_args(tmp_path, TIMM_ARGS | {"model": "resnet18"})).spec.architecture == "vit"


# open_clip's folders


def save_open_clip(folder: Path, *, width: int = 128, **vision: Any) -> Path:
    """As open_clip's push_to_hf_hub writes it, with the names of its VisionTransformer."""
    torch.manual_seed(0)
    blocks = {}
    for i in range(2):
        at = f"visual.transformer.resblocks.{i}"
        blocks |= {
            f"{at}.ln_1.weight": (width,),
            f"{at}.ln_1.bias": (width,),
            f"{at}.attn.in_proj_weight": (3 * width, width),
            f"{at}.attn.in_proj_bias": (3 * width,),
            f"{at}.attn.out_proj.weight": (width, width),
            f"{at}.attn.out_proj.bias": (width,),
            f"{at}.ln_2.weight": (width,),
            f"{at}.ln_2.bias": (width,),
            f"{at}.mlp.c_fc.weight": (320, width),
            f"{at}.mlp.c_fc.bias": (320,),
            f"{at}.mlp.c_proj.weight": (width, 320),
            f"{at}.mlp.c_proj.bias": (width,),
        }
    shapes = {
        "visual.class_embedding": (width,),
        "visual.positional_embedding": (1 + 16, width),
        "visual.proj": (width, 24),
        "visual.conv1.weight": (width, 3, 8, 8),
        "visual.ln_pre.weight": (width,),
        "visual.ln_pre.bias": (width,),
        **blocks,
        "visual.ln_post.weight": (width,),
        "visual.ln_post.bias": (width,),
        "logit_scale": (),
    }
    tensors = {name: torch.randn(shape) for name, shape in shapes.items()}
    torch.save(tensors, folder / "open_clip_pytorch_model.bin")
    tower = {"image_size": 32, "layers": 2, "width": width, "patch_size": 8, "mlp_ratio": 2.5}
    config = {
        "model_cfg": {"embed_dim": 24, "vision_cfg": tower | vision, "text_cfg": {"layers": 12}},
        "preprocess_cfg": {
            "mean": [0.1, 0.2, 0.3],
            "std": [0.4, 0.5, 0.6],
            "interpolation": "bilinear",
            "resize_mode": "squash",
        },
    }
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return folder / "open_clip_pytorch_model.bin"


def test_a_folder_of_open_clips_says_all(tmp_path: Path) -> None:
    found = look(save_open_clip(tmp_path, head_width=32, norm_kwargs={"eps": 1e-6}))
    assert known(found, "num_heads") == (4, "read")
    assert known(found, "gelu") == ("erf", "read")
    assert known(found, "norm_eps") == (1e-6, "read")
    assert known(found, "pool") == ("token", "read")
    assert vars(found.recognition.preprocessing) == PICTURES | {"crop_pct": 1.0}
    why = "open_clip_config.json: model_cfg.vision_cfg.norm_kwargs.eps"
    assert found.recognition.facts["norm_eps"].why == why
    assumed = {n for n, fact in found.recognition.facts.items() if fact.provenance == "assumed"}
    assert assumed <= found.recognition.unused


def test_what_open_clips_file_leaves_out_has_its_default(tmp_path: Path) -> None:
    path = save_open_clip(tmp_path)
    file = tmp_path / "open_clip_config.json"
    data = json.loads(file.read_text())
    del data["preprocess_cfg"]
    file.write_text(json.dumps(data))
    found = look(path)
    assert found.recognition.preprocessing.mean == (0.48145466, 0.4578275, 0.40821073)
    assert known(found, "num_heads") == (2, "read")
    assert known(found, "norm_eps") == (1e-5, "read")


@pytest.mark.parametrize(
    ("changes", "gelu"),
    [
        ({"model_cfg__quick_gelu": True}, "quick"),
        ({"model_cfg__quick_gelu": False}, "erf"),
        ({"model_cfg__vision_cfg__act_kwargs": {"approximate": "tanh"}}, "tanh"),
    ],
)
def test_open_clips_activations(changes: dict[str, Any], gelu: str, tmp_path: Path) -> None:
    path = save_open_clip(tmp_path)
    change(tmp_path, "open_clip_config.json", **changes)
    assert known(look(path), "gelu") == (gelu, "read")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model_cfg__vision_cfg__layers": [3, 4, 6, 3]}, "a ResNet"),
        ({"model_cfg__vision_cfg__layers": "many"}, "a whole number"),
        ({"model_cfg__vision_cfg__layers": 3}, "depth is 3"),
        ({"model_cfg__vision_cfg__head_width": 48}, "a divisor of the width 128"),
        ({"model_cfg__vision_cfg__mlp_ratio": 4.0}, "mlp_dim is 512"),
        ({"model_cfg__vision_cfg__attentional_pool": True}, "CoCa"),
        ({"model_cfg__vision_cfg__pool_type": "none"}, "not supported"),
        (
            {"model_cfg__vision_cfg__pool_type": "avg"}
            | {"model_cfg__vision_cfg__final_ln_after_pool": True},
            "norms after averaging",
        ),
        ({"model_cfg__vision_cfg": 3}, "a table"),
        ({"model_cfg__quick_gelu": "yes"}, "true or false"),
        ({"model_cfg__embed_dim": 512}, "num_classes is 512"),
        ({"preprocess_cfg__mean": [123.7, 116.3, 103.5]}, "pixels in 0..255"),
        ({"preprocess_cfg__resize_mode": "longest"}, "not supported"),
        ({"preprocess_cfg__interpolation": "random"}, "bicubic, bilinear"),
    ],
    ids=str,
)
def test_impossible_values_of_open_clips_file(
    changes: dict[str, Any], says: str, tmp_path: Path
) -> None:
    path = save_open_clip(tmp_path)
    change(tmp_path, "open_clip_config.json", **changes)
    with pytest.raises((CheckpointError, RecognitionError)) as error:
        look(path)
    assert says in error.value.message()


def test_a_tower_of_timms_in_open_clips_folder(tmp_path: Path) -> None:
    model = make(num_heads=6, num_classes=24, global_pool="avg", fc_norm=False)
    tensors = {f"visual.trunk.{name}": value for name, value in model.state_dict().items()}
    text = ("logit_scale", "text.token_embedding.weight", "text.transformer.resblocks.0.ln_1.bias")
    tensors |= {name: torch.ones(2) for name in text}
    torch.save(tensors, tmp_path / "open_clip_pytorch_model.bin")
    vision = {"timm_model_name": "vit_tiny_patch16_224", "timm_pool": "avg", "timm_proj": None}
    changed = {"num_heads": 6, "act_layer": "gelu_tanh", "embed_dim": 192, "depth": 2}
    vision |= {"image_size": 48, "timm_model_kwargs": changed}
    config = {
        "model_cfg": {"embed_dim": 24, "vision_cfg": vision},
        "preprocess_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]},
    }
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    found = look(tmp_path / "open_clip_pytorch_model.bin")
    assert found.recognition.variant.partition(".")[0] == "vit_tiny_patch16_224"
    assert known(found, "num_heads") == (6, "read")
    assert known(found, "gelu") == ("tanh", "read")
    assert known(found, "pool") == ("avg", "read")
    assert found.recognition.preprocessing.crop_pct == 1.0
    assert set(found.ledger.ignored) == set(text)
    # a projection behind the tower would change what the model gives
    torch.save(
        tensors | {"visual.head.proj.weight": torch.ones(24, 192)}, tmp_path / "projected.bin"
    )
    with pytest.raises(MappingError, match=r"visual\.head\.proj\.weight"):
        look(tmp_path / "projected.bin")


def test_the_users_word_counts_more_than_what_is_impossible(tmp_path: Path) -> None:
    save_timm(tmp_path, make())
    change(tmp_path, pretrained_cfg__crop_pct=87.5, model_args__act_layer="mish")
    found = look(tmp_path, crop_pct=0.875, gelu="erf")
    assert (known(found, "crop_pct"), known(found, "gelu")) == ((0.875, "given"), ("erf", "given"))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vit_tiny_patch16_224", {"num_heads": 12, "act_layer": "quick_gelu"}),
        ("vit_tiny_patch16_224", {"num_heads": 6, "global_pool": "avg", "fc_norm": False}),
        (
            "vit_tiny_patch16_224",
            {"num_heads": 4, "reg_tokens": 3, "pool_include_prefix": True, "global_pool": "avg"},
        ),
        ("deit3_small_patch16_224", {"num_heads": 2, "no_embed_class": False, "mlp_ratio": 2.5}),
        ("eva02_tiny_patch14_224", {"num_heads": 2, "rope_temperature": 50.0}),
    ],
    ids=str,
)
def test_a_folder_gives_what_timm_gives(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    """Without an option, and with nothing assumed that matters."""
    from vit_convert import load_model, torch2keras

    model = make(name, **options).eval()
    randomise(model)
    save_timm(tmp_path, model)
    torch2keras(tmp_path, tmp_path / "m.h5")
    images = np.random.default_rng(1).standard_normal((2, 48, 48, 3), np.float32)
    with torch.no_grad():
        expected = model(torch.from_numpy(images.transpose(0, 3, 1, 2))).numpy()
    got = load_model(tmp_path / "m.h5")(images).numpy()
    assert np.abs(got - expected).max() < 1e-5 * np.abs(expected).max()
