"""All naming schemes, and the choice among them. To add one: a file with a table like timm.py, and
a line in `_DIALECTS`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from vit_convert.architectures import Source, architecture
from vit_convert.architectures.base import Tower
from vit_convert.checkpoint.tensor import Tensors
from vit_convert.dialects.attention_transforms import BIAS_WITHOUT_KEYS
from vit_convert.dialects.bubbliiiing import BUBBLIIIING
from vit_convert.dialects.clip import CLIP
from vit_convert.dialects.depth_anything import DEPTH_ANYTHING
from vit_convert.dialects.dinov3 import DINOV3
from vit_convert.dialects.facebook import DINO, DINOV2, DINOV2_CHUNKED, MAE
from vit_convert.dialects.google import BIG_VISION, BIG_VISION_SCANNED, GOOGLE
from vit_convert.dialects.ledger import Ledger, read_with
from vit_convert.dialects.linear_segmentation import LINEAR_SEGMENTATION
from vit_convert.dialects.other_models import guess
from vit_convert.dialects.prefixes import Prefixes
from vit_convert.dialects.rule_files import parse_rules, read_rules
from vit_convert.dialects.rules import Dialect
from vit_convert.dialects.text_towers import TEXT_DIALECTS
from vit_convert.dialects.timm import (
    TIMM_BEIT,
    TIMM_CAIT,
    TIMM_EVA,
    TIMM_GROUPED,
    TIMM_VIT,
    TIMM_VIT_OLD_LAYER_SCALE,
)
from vit_convert.dialects.torch_encoder import TORCH_ENCODER, TORCH_ENCODER_UNFOLD
from vit_convert.dialects.torchvision import TORCHVISION, TORCHVISION_OLD
from vit_convert.dialects.transformers_aimv2 import TRANSFORMERS_AIMV2
from vit_convert.dialects.transformers_beit import (
    TRANSFORMERS_BEIT,
    TRANSFORMERS_BEIT_5,
    TRANSFORMERS_BEIT_MASKED,
    TRANSFORMERS_BEIT_MASKED_5,
    TRANSFORMERS_INTERNVL,
)
from vit_convert.dialects.transformers_clip import (
    TRANSFORMERS_BLIP,
    TRANSFORMERS_CLIP,
    TRANSFORMERS_CLIP_CLASSIFIER,
    TRANSFORMERS_OWLVIT,
)
from vit_convert.dialects.transformers_dinov2 import (
    TRANSFORMERS_DINOV2,
    TRANSFORMERS_DINOV2_5,
    TRANSFORMERS_DINOV2_REGISTERS,
    TRANSFORMERS_DINOV2_REGISTERS_5,
)
from vit_convert.dialects.transformers_dinov3 import (
    TRANSFORMERS_DINOV3,
    TRANSFORMERS_DINOV3_GATED,
)
from vit_convert.dialects.transformers_dpt import TRANSFORMERS_DEPTH
from vit_convert.dialects.transformers_siglip import (
    TRANSFORMERS_SIGLIP,
    TRANSFORMERS_SIGLIP2,
    TRANSFORMERS_SIGLIP2_AVG,
    TRANSFORMERS_SIGLIP_AVG,
)
from vit_convert.dialects.transformers_vit import (
    TRANSFORMERS_DEIT,
    TRANSFORMERS_DEIT_5,
    TRANSFORMERS_DEIT_SINGLE,
    TRANSFORMERS_DEIT_SINGLE_5,
    TRANSFORMERS_IJEPA,
    TRANSFORMERS_IJEPA_5,
    TRANSFORMERS_VIT,
    TRANSFORMERS_VIT_5,
    TRANSFORMERS_VIT_MSN,
)
from vit_convert.errors import RecognitionError, UsageError
from vit_convert.runtime.limits import RENAMES

# where two know a checkpoint equally well, the first is taken
_FEW = 3  # dialects that an error lists by their titles
_DIALECTS: tuple[Dialect, ...] = (
    TIMM_VIT,
    TIMM_VIT_OLD_LAYER_SCALE,
    TIMM_BEIT,
    TIMM_EVA,
    TIMM_GROUPED,
    TIMM_CAIT,
    BUBBLIIIING,
    DINO,
    MAE,
    DINOV2,
    DINOV2_CHUNKED,
    DINOV3,
    TORCHVISION,
    TORCHVISION_OLD,
    *TRANSFORMERS_DEPTH,  # before ViT, which leaves necks and heads out
    DEPTH_ANYTHING,
    *LINEAR_SEGMENTATION,
    TRANSFORMERS_IJEPA,  # before ViT, which has a class token more
    TRANSFORMERS_IJEPA_5,
    TRANSFORMERS_VIT,
    TRANSFORMERS_VIT_5,
    TRANSFORMERS_VIT_MSN,
    TRANSFORMERS_DEIT,
    TRANSFORMERS_DEIT_5,
    TRANSFORMERS_DEIT_SINGLE,
    TRANSFORMERS_DEIT_SINGLE_5,
    TRANSFORMERS_BEIT,
    TRANSFORMERS_BEIT_5,
    TRANSFORMERS_BEIT_MASKED,
    TRANSFORMERS_BEIT_MASKED_5,
    TRANSFORMERS_INTERNVL,
    TRANSFORMERS_DINOV2,
    TRANSFORMERS_DINOV2_5,
    TRANSFORMERS_DINOV2_REGISTERS,
    TRANSFORMERS_DINOV2_REGISTERS_5,
    TRANSFORMERS_DINOV3,
    TRANSFORMERS_DINOV3_GATED,
    TRANSFORMERS_CLIP,
    TRANSFORMERS_CLIP_CLASSIFIER,
    TRANSFORMERS_OWLVIT,
    TRANSFORMERS_BLIP,
    TRANSFORMERS_SIGLIP,
    TRANSFORMERS_SIGLIP_AVG,
    TRANSFORMERS_SIGLIP2,
    TRANSFORMERS_SIGLIP2_AVG,
    TRANSFORMERS_AIMV2,
    CLIP,
    GOOGLE,
    BIG_VISION,
    BIG_VISION_SCANNED,
    TORCH_ENCODER,
    TORCH_ENCODER_UNFOLD,
)


def _check_unique(table: tuple[Dialect, ...]) -> None:
    keys = [(d.name, d.architecture) for d in table]
    if len(set(keys)) != len(keys):
        raise ValueError("two dialects have the same name and architecture")


_check_unique((*_DIALECTS, *TEXT_DIALECTS))


def dialects(tower: Tower = "image") -> tuple[Dialect, ...]:
    """All dialects of models of pictures; or of text towers, which may stand beside one in the same
    file."""
    return _DIALECTS if tower == "image" else TEXT_DIALECTS


def every_dialect() -> tuple[Dialect, ...]:
    """Those of all towers."""
    return (*_DIALECTS, *TEXT_DIALECTS)


def dialect(name: str, architecture: str) -> Dialect:
    """The dialect of that name for an architecture.

    Raises:
        UsageError: there is none.
    """
    for candidate in every_dialect():
        if (candidate.name, candidate.architecture) == (name, architecture):
            return candidate
    known = ", ".join(d.name for d in every_dialect() if d.architecture == architecture)
    raise UsageError(f"no dialect for {architecture} is called {name!r}", expected=known)


def scheme_of(source: Source, name: str | None, architecture: str) -> Dialect:
    """The dialect to write a converted model in.

    Args:
        source: where the model came from.
        name: what the user wants; by default the source's, which may be a rule file's.
        architecture: of the model.

    Raises:
        UsageError: there is none of that name.
    """
    if source.rules and name in (None, source.dialect):
        return parse_rules(source.rules, f"the rules of {source.file}", canonical_patterns)
    return dialect(name or source.dialect, architecture)


def keys_have_bias(source: Source, architecture: str) -> bool:
    """Whether models of the source's scheme have a bias of attention's keys, where they have one of
    queries and values. BEiT's and EVA's have none: theirs is zero, and has to stay zero in training
    where a way back is wanted."""
    schemes = [
        d for d in every_dialect() if (d.name, d.architecture) == (source.dialect, architecture)
    ]
    if source.rules:
        schemes = [scheme_of(source, None, architecture)]
    return not any(rule.transform == BIAS_WITHOUT_KEYS for d in schemes for rule in d.rules)


def canonical_patterns(architecture: str) -> tuple[str, ...]:
    """Patterns of all canonical names that dialects of an architecture know.

    Raises:
        UsageError: there is no such architecture.
    """
    found = [d for d in every_dialect() if d.architecture == architecture]
    if not found:
        known = ", ".join(sorted({d.architecture for d in every_dialect()}))
        raise UsageError(f"no architecture is called {architecture!r}", expected=known)
    return tuple(
        dict.fromkeys(target for d in found for rule in d.rules for target in rule.targets)
    )


def rules_of(path: str | Path) -> Dialect:
    """The dialect of a user's rule file.

    Raises:
        UsageError: it is wrong, or has the name of a dialect that there is.
    """
    found = read_rules(path, canonical_patterns)
    if any(found.name == d.name for d in every_dialect()):
        raise UsageError(
            f"there is a dialect called {found.name!r} already",
            where=str(path),
            expected="a name of its own",
        )
    return found


def read_as_canonical(
    tensors: Tensors,
    where: str,
    *,
    stem: str = "",
    among: Sequence[Dialect] | None = None,
    tower: Tower = "image",
) -> Ledger:
    """Find the dialect and prefix that know the most tensors, and rename with it.

    Args:
        tensors: the checkpoint's.
        where: the file, for messages.
        stem: its name without suffix, which a few dialects are told by.
        among: the dialects to choose from; by default all of the tower.
        tower: of a model of pictures and texts, which part.

    Raises:
        RecognitionError: no dialect knows even half of them, or the others are those of a model
            that is known not to be supported.
    """
    known = dialects(tower)
    candidates = [d for d in known if d.stem in ("", stem)] if among is None else list(among)
    candidates.sort(key=lambda d: not d.stem)  # the one that the file's name suggests comes first
    found = Prefixes(tensors)
    tried = [
        (candidate, prefix, body)
        for candidate in candidates
        for body in candidate.bodies
        for prefix in found.of(candidate.marker.replace("{body}", body))
    ]
    RENAMES.check(len(tried) * len(tensors), where, error=RecognitionError)
    ledgers = [read_with(scheme, tensors, prefix, body) for scheme, prefix, body in tried]
    best = max(ledgers, key=lambda ledger: ledger.known, default=None)
    if best is None or 2 * best.known < len(tensors):
        if candidates and all(architecture(d.architecture).tower == "text" for d in candidates):
            raise RecognitionError(
                "holds no text tower that is known here",
                where=where,
                expected=_titles(candidates),
                hint="the whole checkpoint: CLIPModel, SiglipModel or Siglip2Model of "
                "transformers, or one of OpenAI's or open_clip's",
            )
        names = list(tensors)
        raise RecognitionError(
            f"the tensors are not named as any model known here: {', '.join(names[:4])}, ... "
            f"({len(names)} in all){guess(tensors)}",
            where=where,
            expected=_titles(candidates),
            hint="vit-convert inspect shows what it holds; with --rules-template it prints a rule "
            "file for --rules, with these names to fill in",
        )
    if what := guess(best.unexpected):
        raise RecognitionError(
            f"not every tensor is of a model that is known here{what}",
            where=f"{where}: {', '.join(list(best.unexpected)[:4])}",
            expected=_titles(_DIALECTS),
        )
    return best


def _titles(dialects: Sequence[Dialect]) -> str:
    """The dialects for people; of many only whose they are."""
    if len(dialects) <= _FEW:
        return " or ".join(dialect.title for dialect in dialects)
    whose = dict.fromkeys(re.split(r"[\s,']", dialect.title)[0] for dialect in dialects)
    return f"the names of {', '.join(whose)}; docs/dialects.md lists them"
