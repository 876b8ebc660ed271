"""Naming schemes as data: rules that read in one direction and write in the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from vit_convert.architectures import Fact
from vit_convert.architectures.base import Rotary
from vit_convert.architectures.outputs import Head
from vit_convert.checkpoint.tensor import LazyTensor
from vit_convert.dialects.transforms import SAME, Transform


@dataclass(frozen=True)
class Rule:
    """Source tensors that make canonical tensors.

    Attributes:
        sources: patterns (see `patterns`) of the names in the file.
        targets: patterns of the canonical names, with placeholders of the sources.
        transform: from the sources' arrays to the targets'.
        stacked: each source holds every block's array along its first axis; the targets have an
            `{i}` that the sources lack.
        when: (field, value) of the configurations that it is written for; (), all of them. A scheme
            may call the same parameter otherwise in another kind of model.
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    transform: Transform = SAME
    stacked: bool = False
    when: tuple[str, object] | tuple[()] = ()


def same(*patterns: str) -> tuple[Rule, ...]:
    """Rules for names that are canonical already."""
    return tuple(renamed(pattern, pattern) for pattern in patterns)


def renamed(
    source: str,
    target: str,
    transform: Transform = SAME,
    when: tuple[str, object] | tuple[()] = (),
) -> Rule:
    """A rule for one tensor that is one tensor."""
    return Rule((source,), (target,), transform, when=when)


def joining(
    sources: Iterable[str],
    target: str,
    transform: Transform,
    when: tuple[str, object] | tuple[()] = (),
) -> Rule:
    """A rule for several tensors that are one."""
    return Rule(tuple(sources), (target,), transform, when=when)


def under(prefix: str, rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """The rules with their sources inside something: "{body}"."""
    return tuple(replace(rule, sources=tuple(prefix + s for s in rule.sources)) for rule in rules)


@dataclass(frozen=True)
class Ignore:
    """Source tensors that inference does not need, and why.

    Attributes:
        pattern: of their names.
        reason: for people.
        tells: what such a tensor's values say of the configuration all the same; raises MisfitError
            for values that no model here has.
    """

    pattern: str
    reason: str
    tells: Callable[[LazyTensor], dict[str, Fact]] | None = None


@dataclass(frozen=True)
class Dialect:
    """A naming scheme for one architecture.

    Attributes:
        name: for `--dialect` and the artifact's metadata.
        architecture: the canonical vocabulary that it maps to.
        title: for people: whose names these are.
        marker: a source name that every such checkpoint has; what stands before it is the prefix.
        rules, ignored: the table. An ignored pattern may also be the whole name of a tensor that
            does not stand behind the prefix.
        refused: source tensors that such models have and that no model here has, and why.
        bodies: what `{body}` in marker, rules and ignored may stand for, because the same model is
            saved alone and inside another; the first is written where the source does not tell.
        facts: what the scheme itself says of the configuration, e.g. that torchvision's epsilon is
            1e-6. A field's name -> how it is known.
        library: whose implementation `verify --source` runs.
        sidecar: whether a config.json of transformers may lie beside such a checkpoint.
        text: the rule file that it was read from, "" for those of this package.
        stem: the file name, without suffix, that tells this dialect from another of the same names;
            "" where the names suffice.
        rotary: the kinds of rotary position embedding, which no name tells, that such models may
            have; a model of another kind is not written.
        head: what the head gives: values for "classes", or a "projection" that is compared with
            texts'.
        beside: the prefix that a larger model gives such a model (open_clip's `visual.trunk.`) ->
            what stands beside it there.
    """

    name: str
    architecture: str
    title: str
    marker: str
    rules: tuple[Rule, ...]
    ignored: tuple[Ignore, ...] = ()
    refused: tuple[Ignore, ...] = ()
    bodies: tuple[str, ...] = ("",)
    facts: Mapping[str, Fact] = field(default_factory=dict)
    library: Literal["timm", "torchvision", "transformers", "torch"] = "timm"
    sidecar: bool = False
    text: str = ""
    stem: str = ""
    rotary: tuple[Rotary, ...] = ("none",)
    head: Head = "classes"
    beside: Mapping[str, tuple[Ignore, ...]] = field(default_factory=dict)

    def around(self, prefix: str) -> tuple[str, tuple[Ignore, ...]]:
        """What stands before the names of the larger model that a prefix tells, and what is left
        out of that model; ("", ()) if there is none."""
        for tower, ignored in self.beside.items():
            if prefix.endswith(tower):
                return prefix.removesuffix(tower), ignored
        return "", ()

    @property
    def stated(self) -> dict[str, Fact]:
        """`facts`, and the kind of rotary embedding where such models have one only."""
        found = dict(self.facts)
        if len(self.rotary) == 1:
            found.setdefault("rotary", published(self.title, rotary=self.rotary[0])["rotary"])
        return found

    def with_body(self, body: str) -> Dialect:
        """The same with `{body}` filled in everywhere."""

        def filled(pattern: str) -> str:
            return pattern.replace("{body}", body)

        return replace(
            self,
            marker=filled(self.marker),
            rules=tuple(replace(r, sources=tuple(map(filled, r.sources))) for r in self.rules),
            ignored=tuple(replace(i, pattern=filled(i.pattern)) for i in self.ignored),
            refused=tuple(replace(i, pattern=filled(i.pattern)) for i in self.refused),
            bodies=(body,),
        )


def published(title: str, **values: object) -> dict[str, Fact]:
    """Facts that all models of a scheme share, because the code that has these names leaves no
    choice of them."""
    why = f"as {title} always has it"
    return {name: Fact(value, "published", why) for name, value in values.items()}


def defaults(title: str, **values: object) -> dict[str, Fact]:
    """Facts that a scheme's models have unless their authors chose otherwise: options of the code,
    and how pictures are prepared."""
    return {
        name: Fact(value, "assumed", f"the default of {title}") for name, value in values.items()
    }
