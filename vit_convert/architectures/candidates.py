"""The published models that a checkpoint may be, by its tensors, and the one that it is taken for.

Equal tensors are no statement: a model is *stated* only by the user or by a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from vit_convert.architectures.base import Overrides
from vit_convert.architectures.published import Pictures, PublishedModel
from vit_convert.errors import RecognitionError, UsageError, VitConvertError, option_of

# what fine-tuning changes, and what a new head changes
_HEAD = ("num_classes", "head_bias")
_INPUT = ("patch_size", "in_channels")
_POOLED = ("final_norm", "fc_norm", "pool", "pool_prefix")  # timm's global_pool changes all of them
_WIDTHS = ("embed_dim", "depth", "mlp_dim")

Fit = Literal["tensors", "size", "input", "widths"]
"""How much of a published model the checkpoint has: all its tensors; all but the image size; but
channels or patch size; the same width, depth and MLP only."""


@dataclass(frozen=True)
class Candidates:
    """The published models that a checkpoint may be.

    Attributes:
        models: of the best fit that there is, the likeliest first.
        fit: how much of them the checkpoint has; None if there are none.
        pictures: how pictures are prepared for the first, by its tag; None if nobody knows that.
        stated: who says that the checkpoint is the first, "" if nobody does.
        name: the first one's, with a tag if it was stated with one.
        by_name: whether the file's name suggests the first.
        own: whether they are published under the names that the checkpoint's tensors have.
    """

    models: tuple[PublishedModel, ...] = ()
    fit: Fit | None = None
    pictures: Pictures | None = None
    stated: str = ""
    name: str = ""
    by_name: bool = False
    own: bool = False

    @property
    def variant(self) -> str:
        """The name of the published model that it is or may be, "" where none has its tensors."""
        return self.name if self.stated or self.fit == "tensors" else ""

    def values(self, name: str) -> Iterator[tuple[str, Any]]:
        """Name of a model, with its tag where it has several, and its value of a field."""
        for index, model in enumerate(self.models):
            if name in model.values:
                yield model.name, model.values[name]
                continue
            first = self.pictures if index == 0 and self.pictures else model.pictures[0]
            for pictures in (first, *(p for p in model.pictures if p is not first)):
                tagged = pictures is not model.pictures[0] and pictures.tags[0]
                label = f"{model.name}.{pictures.tags[0]}" if tagged else model.name
                yield label, getattr(pictures.preprocessing, name)


def find_candidates(
    published: Sequence[PublishedModel],
    read: Mapping[str, Any],
    same_parts: Callable[[Mapping[str, Any]], bool],
    same_size: Callable[[Mapping[str, Any]], bool],
    overrides: Overrides,
    hint: str,
) -> Candidates:
    """The published models that a checkpoint may be.

    Args:
        published: all those of the architecture.
        read: values that tensors tell.
        same_parts: whether a model of these values lacks what the checkpoint lacks.
        same_size: whether positions are as many as in the model of these values.
        overrides: what the user and files state.
        hint: the checkpoint's file name.

    Raises:
        UsageError, RecognitionError: the stated model is not known, has other tensors, or cannot be
            converted; or the file's name, or all that is published, says that it is a model that
            cannot be.
    """
    if stated := _stated(published, read, overrides):
        return stated
    comparable = [m for m in published if m.values and _is_of_scheme(m, overrides.scheme)]
    comparable.sort(key=lambda m: _order(m, hint, overrides.scheme))
    fitting: list[PublishedModel] = []
    fit: Fit | None = None
    told = [k for k in read if k not in _HEAD]
    ways: tuple[tuple[Fit, list[str]], ...] = (
        ("tensors", told),
        ("size", told),
        ("input", [k for k in told if k not in _INPUT]),
        ("widths", [k for k in told if k in _WIDTHS]),
    )
    for way, keys in ways:
        fitting = [
            m
            for m in comparable
            if all(m.values.get(k) == read[k] for k in keys)
            and (way == "widths" or same_parts(m.values))
            and (way != "tensors" or same_size(m.values))
        ]
        if fitting := _agreeing(fitting, overrides):
            fit = way
            break
    own = [m for m in fitting if _is_own(m, overrides.scheme)]
    if own and fit == "tensors":
        fitting = own  # no other has these names
    if not fitting:
        return Candidates()
    by_name = fitting[0].name in hint
    if fit in ("tensors", "size") and fitting[0].unsupported:
        raise _unsupported(fitting[0], fitting, by_name)
    best = fitting[0]
    tag = next((t for p in best.pictures for t in p.tags if t and f"{best.name}.{t}" in hint), "")
    return Candidates(
        tuple(fitting),
        fit,
        best.pictures_of(tag),
        name=f"{best.name}.{tag}" if tag else best.name,
        by_name=by_name,
        own=bool(own),
    )


def _is_of_scheme(model: PublishedModel, scheme: str) -> bool:
    return not scheme or not model.schemes or scheme in model.schemes


def _is_own(model: PublishedModel, scheme: str) -> bool:
    """Whether it is published under the names that the checkpoint has; timm's are everybody's."""
    return scheme in model.schemes and not scheme.startswith("timm")


def _order(model: PublishedModel, hint: str, scheme: str) -> tuple[int, bool, bool]:
    """By the file's name, then those of the naming scheme, then those that can be converted."""
    own = _is_own(model, scheme)
    return -len(model.name) if model.name in hint else 0, not own, bool(model.unsupported)


def _agreeing(models: list[PublishedModel], overrides: Overrides) -> list[PublishedModel]:
    """Those that have the values that are known from elsewhere; if none does, all those that can be
    converted."""
    known = {}
    for name in models[0].values if models else ():
        fact = overrides.fact(name)
        if fact and fact.provenance != "assumed" and name != "image_size":
            known[name] = fact.value
    return [m for m in models if all(m.values.get(k) == v for k, v in known.items())] or [
        m for m in models if not m.unsupported
    ]


def _unsupported(
    model: PublishedModel, models: Sequence[PublishedModel], by_name: bool
) -> RecognitionError:
    other = next((m.name for m in models if not m.unsupported), "")
    why = "by the file's name, this is" if by_name else "the tensors are those of"
    words = [k for k, v in model.values.items() if isinstance(v, str) and v.startswith("<")]
    option = option_of((words or ["variant"])[0])
    return RecognitionError(
        f"{why} {model.name}, which is not supported: {model.unsupported}",
        expected=f"another model of the same tensors, such as {other}" if other else "",
        hint=f"--variant {other}, if it is that one" if other else f"{option}, if it has another",
    )


def _stated(
    published: Sequence[PublishedModel], read: Mapping[str, Any], overrides: Overrides
) -> Candidates | None:
    """The model that the user or a file names; None where nobody does, or where a file's name of it
    is none that is published."""
    fact = overrides.fact("variant")
    if fact is None:
        return None
    given = fact.provenance == "given"
    where = "--variant" if given else fact.why
    full = str(fact.value).rpartition("/")[2].removeprefix("hf_hub:").removeprefix("hf-hub:")
    name, _, tag = full.partition(".")
    model = next((m for m in published if m.name == full), None)
    if model:
        tag = ""
    else:
        model = next((m for m in published if m.name == name), None)
    pictures = model.pictures_of(tag) if model else None
    if model is None or (pictures is None and given):
        if not given:
            return None
        raise unknown_variant(full, published, "--variant")
    changed = overrides.stated.get("changed")
    known = {*overrides.stated, *(changed.value if changed else ())} if not given else set()
    if wrong := [row for row in _contradictions(model, read) if row[0] not in known]:
        raise _another(given)(
            f"the checkpoint is no {full}: {wrong[0][0]} is {wrong[0][1]}",
            where=where,
            expected=f"{wrong[0][0]} {wrong[0][2]}",
            hint="" if given else way_out(()),
        )
    if model.unsupported:
        raise RecognitionError(
            f"{full} is not supported: {model.unsupported}",
            where=where,
        )
    return Candidates((model,), "tensors", pictures, where, full)


def _another(given: bool) -> type[VitConvertError]:
    return UsageError if given else RecognitionError


def _contradictions(model: PublishedModel, read: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """(field, value by the tensors, value of the model), where fine-tuning does not change it."""
    free = (*_HEAD, *_POOLED, "in_channels", "image_size")
    return [
        (name, value, model.values[name])
        for name, value in read.items()
        if name in model.values and name not in free and model.values[name] != value
    ]


def unknown_variant(name: str, published: Sequence[PublishedModel], where: str) -> UsageError:
    """The error for a name that no published model has, with those most like it; `where` is the
    option."""
    from difflib import get_close_matches

    names = [m.name for m in published]
    names += [f"{m.name}.{t}" for m in published for p in m.pictures for t in p.tags if t]
    close = get_close_matches(name, names, 3, 0.5)
    return UsageError(
        f"no variant is called {name!r}",
        where=where,
        expected="the name of a published model, as timm calls it",
        hint=f"{' or '.join(close)}, which is known" if close else "",
    )


def way_out(names: Iterable[str]) -> str:
    """What helps where statements about some fields contradict each other, or the tensors."""
    names = [name for name in names if hasattr(Overrides, name) and name != "num_classes"]
    options = ", ".join(option_of(name) for name in names)
    return (
        f"{f'{options} with the right value, which counts more; or ' if options else ''}"
        "move the checkpoint into a folder of its own, or save its state dict alone, "
        "to convert it without what says so"
    )
