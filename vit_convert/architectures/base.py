"""The vocabulary that all architectures share: configurations, preprocessing, and how each value of
them is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from vit_convert.architectures.ranges import OutOfRangeError, as_text, checked
from vit_convert.errors import UsageError, option_of

Gelu = Literal["erf", "tanh", "quick", "relu", "silu"]
Pool = Literal["token", "avg", "max", "avgmax", "token-avg", "map"]
Position = Literal["all", "class", "patches", "none"]
NormPosition = Literal["pre", "post", "res-post"]
NormKind = Literal["layer", "rms"]
Rotary = Literal["none", "eva02", "dinov3", "axial", "mixed", "pe"]
DepthActivation = Literal["relu", "sigmoid"]
CropMode = Literal["center", "squash"]
# of a model of pictures and texts (CLIP): what sees pictures, and what reads texts
Tower = Literal["image", "text"]
Interpolation = Literal["bicubic", "bilinear"]
Resampling = Literal["antialias", "bicubic", "bilinear"]
Provenance = Literal["read", "given", "published", "assumed"]

# the words that a field of words can have
CHOICES: dict[str, tuple[str, ...]] = {
    "gelu": get_args(Gelu),
    "norm": get_args(NormKind),
    "norm_position": get_args(NormPosition),
    "position": get_args(Position),
    "rotary": get_args(Rotary),
    "pool": get_args(Pool),
    "depth_activation": get_args(DepthActivation),
    "interpolation": get_args(Interpolation),
    "crop_mode": get_args(CropMode),
    "pos_embed": get_args(Resampling),
    "tower": get_args(Tower),
}


def _checked(name: str, value: Any, option: str) -> Any:
    """A field's value, as `ranges.checked`; raises UsageError, in which it is called `option`."""
    try:
        return checked(name, value, CHOICES.get(name, ()))
    except OutOfRangeError as error:
        raise UsageError(
            error.meaning or f"{name} cannot be {as_text(value, name)}",
            where=f"{option} {as_text(value, name)}",
            expected=error.expected,
            hint=f"{option} {error.instead}" if error.instead else "",
        ) from None


@dataclass(frozen=True)
class Preprocessing:
    """The way from a picture to a model's input, as the checkpoint's authors did it.

    Attributes:
        mean, std: of the channels R, G, B, for pixels scaled to 0..1.
        interpolation: "bicubic" or "bilinear", with antialiasing (Pillow's).
        crop_pct: the side of the centre crop over the side that the picture is resized to.
        crop_mode: how a picture of another shape is resized before the crop: "center" keeps its
            proportions, "squash" does not (timm's names).

    Raises:
        UsageError: mean or std is not that of such pixels.
    """

    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    interpolation: Interpolation = "bicubic"
    crop_pct: float = 0.9
    crop_mode: CropMode = "center"

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            object.__setattr__(self, name, _checked(name, getattr(self, name), name))


IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """The values that the configurations of all models of pictures have.

    Attributes:
        image_size, patch_size: (height, width) in pixels.
        in_channels: channels of the input images.
        num_classes: width of the head; 0 for none (the model then gives pooled features).
        embed_dim: width of the residual stream.
        depth: number of self-attention blocks.
        num_heads: attention heads; must divide embed_dim.
        mlp_dim: hidden width of the MLPs.
        qkv_bias: whether the q, k, v projections have a bias.
        gelu: the MLPs' activation: GELU, "erf" (exact), "tanh" (approximation) or "quick"
            (x * sigmoid(1.702 x), CLIP's); or "relu" or "silu" (x * sigmoid(x)) in its place.
        norm_eps: epsilon of every norm.
        pool: "token" (the class token), "avg" or "max" (the mean or the maximum over the patches),
            "avgmax" (the mean of those two), "token-avg" (class token, then mean: transformers'
            DINOv2 head) or "map" (attention pooling, by a learned query).
        drop_rate, attn_drop_rate, drop_path_rate: dropout on embeddings, projections and head;
            dropout on attention weights; stochastic depth, growing linearly over the blocks.
            For training only.
    """

    image_size: tuple[int, int]
    patch_size: tuple[int, int]
    in_channels: int = 3
    num_classes: int = 1000
    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_dim: int = 3072
    qkv_bias: bool = True
    gelu: Gelu = "erf"
    norm_eps: float = 1e-6
    pool: Pool = "token"
    drop_rate: float = 0.0
    attn_drop_rate: float = 0.0
    drop_path_rate: float = 0.0

    @property
    def grid(self) -> tuple[int, int]:
        """Patches per column and per row. Pixels beyond the last whole patch are not seen."""
        return (
            self.image_size[0] // self.patch_size[0],
            self.image_size[1] // self.patch_size[1],
        )

    @property
    def seen_size(self) -> tuple[int, int]:
        """(height, width) in pixels of the part of a picture, from its upper left corner, that
        whole patches cover."""
        rows, columns = self.grid
        return rows * self.patch_size[0], columns * self.patch_size[1]

    @property
    def num_patches(self) -> int:
        """Patches in all."""
        return self.grid[0] * self.grid[1]

    @property
    def num_positioned_prefix_tokens(self) -> int:
        """Tokens before the patches that `pos_embed` covers, where there is one."""
        return 0

    @property
    def features_dim(self) -> int:
        """The width of what the head sees: transformers' DINOv2 head sees class token and mean."""
        return self.embed_dim * (2 if self.pool == "token-avg" else 1)

    @property
    def head_dim(self) -> int:
        """Channels of one attention head."""
        return self.embed_dim // self.num_heads


@dataclass(frozen=True)
class Variant:
    """A published model: its name in timm, what tells it apart, and where the numbers come from."""

    name: str
    config: TransformerConfig
    preprocessing: Preprocessing
    source: str


@dataclass(frozen=True)
class Rival:
    """Another value that published models of the same tensors have.

    Attributes:
        value: the value; a few words in angle brackets where no configuration can have it.
        names: of those models.
    """

    value: Any
    names: tuple[str, ...]


@dataclass(frozen=True)
class Fact:
    """One value of a configuration, and how it is known.

    Attributes:
        value: the value.
        provenance: "read" (from tensors, or a file beside them), "given" (the user's option),
            "published" (a file or the user states which published model it is) or "assumed" (a
            value that nothing confirms).
        why: one line for people.
        models: of an assumed value: the published models of the same tensors that have it.
        rivals: of an assumed value: what the others of them have in its place.
    """

    value: Any
    provenance: Provenance
    why: str
    models: tuple[str, ...] = ()
    rivals: tuple[Rival, ...] = ()


@dataclass(frozen=True)
class Recognition:
    """The result of recognising a checkpoint by its names and shapes.

    Attributes:
        config: the model's configuration.
        preprocessing: as published, given, or assumed.
        variant: name of the published model that it is or may be, or "".
        facts: field name -> how it is known; covers every field of config and preprocessing that
            is not a training option.
        unused: the fields that change nothing in this model, such as the base of frequencies where
            there is no rotary embedding.
        stated: whether the user or a file says that it is that model; equal tensors do not.
    """

    config: Any
    preprocessing: Preprocessing
    variant: str
    facts: dict[str, Fact] = field(default_factory=dict)
    unused: frozenset[str] = frozenset()
    stated: bool = False


@dataclass(frozen=True)
class Overrides:
    """What is stated of a checkpoint: by the user (None where nothing is), its names and files.

    Attributes:
        variant: the published model it is, as timm calls it.
        num_heads, gelu, norm_eps, pool: as `TransformerConfig` has them.
        norm, norm_position, position: as `ViTConfig` has them.
        pool_heads, pool_prefix: of pooling, as `ViTConfig` has them.
        rotary, rotary_base, rotary_grid: of the rotary embedding, as `ViTConfig` has them.
        taps, depth_activation, max_depth: of a head for depth, as `DenseConfig` has them.
        image_size: (height, width) in pixels; the position embedding is resampled to it.
        num_classes: of a fresh head; 0 for none.
        mean, std: of each channel (R, G, B), for pixels in 0..1.
        interpolation, crop_pct, crop_mode: how pictures are resized and cropped; as
            `Preprocessing` has them.
        stated: what its naming scheme or a file beside it says: a field's name -> how it is known.
            The name "variant" is that of the published model, and the value of "changed" the fields
            in which it is built otherwise than published, as the tensors tell.
        scheme: the naming scheme's name; published models of other schemes are no rivals.

    Raises:
        UsageError: a value is of the wrong type, or one that no model has.
    """

    variant: str | None = None
    num_heads: int | None = None
    gelu: Gelu | None = None
    norm: NormKind | None = None
    norm_eps: float | None = None
    norm_position: NormPosition | None = None
    position: Position | None = None
    rotary: Rotary | None = None
    rotary_base: float | None = None
    rotary_grid: tuple[int, int] | None = None
    pool: Pool | None = None
    pool_heads: int | None = None
    pool_prefix: bool | None = None
    taps: tuple[int, ...] | None = None
    depth_activation: DepthActivation | None = None
    max_depth: float | None = None
    image_size: tuple[int, int] | None = None
    num_classes: int | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    interpolation: Interpolation | None = None
    crop_pct: float | None = None
    crop_mode: CropMode | None = None
    stated: Mapping[str, Fact] = field(default_factory=dict)
    scheme: str = ""

    def __post_init__(self) -> None:
        for name, value in self.given().items():
            object.__setattr__(self, name, _checked(name, value, option_of(name)))

    def given(self) -> dict[str, Any]:
        """The values that the user states, by field."""
        names = (item.name for item in fields(self) if item.name not in ("stated", "scheme"))
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def fact(self, name: str) -> Fact | None:
        """The user's value of a field, or the naming scheme's, or a file's; None without any."""
        given = getattr(self, name, None)
        return self.stated.get(name) if given is None else Fact(given, "given", "your option")

    @property
    def trained_size(self) -> tuple[int, int] | None:
        """The image size that tells a position embedding's grid where its length does not."""
        fact = self.stated.get("image_size")
        return fact.value if fact else self.image_size
