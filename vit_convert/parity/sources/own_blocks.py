"""Finds the transformer blocks of a model that nobody here wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from vit_convert.architectures import ModelSpec

if TYPE_CHECKING:
    import torch

Groups = Mapping[str, Sequence[str]]  # kind of block -> names in the order of computation


class OwnBlocks:
    """The blocks of a model: the modules of an nn.ModuleList or nn.Sequential of the right length,
    that are run once each, in their order, and give tokens (n, tokens, dim) of the model's width.

    Args:
        model: of the user's.
        spec: of the converted model; without, the longest such list is taken, whatever its width.
    """

    def __init__(self, model: torch.nn.Module, spec: ModelSpec | None) -> None:
        self._model = model
        self._dim = spec.config.embed_dim if spec else None
        self._tokens = _token_counts(spec) if spec else None
        self._groups = _groups(spec) if spec else None

    def outputs(self, forward: Callable[[], Any], count: int) -> dict[str, np.ndarray]:
        """What each block gives.

        Args:
            forward: runs the model on some images.
            count: their number.

        Returns:
            "embeddings", "blocks.0", ... -> (count, tokens, dim) float32; empty where there are no
            such modules.
        """
        lists = list(_lists(self._model))
        with _watched([block for _, blocks in lists for block in blocks]) as seen:
            forward()
        fitting = [found for _, blocks in lists if (found := self._tokens_of(blocks, seen, count))]
        if self._groups is None:
            fitting.sort(key=len, reverse=True)
            return _named("blocks", fitting[0]) if fitting else {}
        result: dict[str, np.ndarray] = {}
        for kind, names in self._groups.items():
            chosen = next((f for f in fitting if len(f) == len(names) + 1), None)
            if chosen is None:
                if not result:
                    return {}
                break
            fitting = [f for f in fitting if f is not chosen]
            result |= _named(kind, chosen) if not result else _named(kind, chosen, first=False)
        return result

    def _tokens_of(
        self, blocks: Sequence[torch.nn.Module], seen: _Seen, count: int
    ) -> list[np.ndarray]:
        """The tokens that enter the first block and leave each of them; [] if these are none."""
        calls = [seen.calls.get(id(block), []) for block in blocks]
        if any(len(each) != 1 for each in calls):
            return []
        order = [each[0] for each in calls]
        if [call.place for call in order] != sorted(call.place for call in order):
            return []
        found = [_batch_first(order[0].entering, count)]
        found += [_batch_first(call.leaving, count) for call in order]
        if any(tokens is None for tokens in found):
            return []
        tokens = [each for each in found if each is not None]
        widths = {each.shape[2] for each in tokens}
        if len(widths) > 1 or (self._dim is not None and widths != {self._dim}):
            return []
        if self._tokens is not None and tokens[-1].shape[1] not in self._tokens:
            return []
        return tokens


class _Call:
    """One run of a module."""

    def __init__(self, place: int, entering: Any, leaving: Any) -> None:
        self.place, self.entering, self.leaving = place, entering, leaving


class _Seen:
    """What modules were run on, and what they gave."""

    def __init__(self) -> None:
        self.calls: dict[int, list[_Call]] = {}
        self._place = 0

    def keep(self, module: Any, arguments: Any, named: Any, output: Any) -> None:
        """A forward hook."""
        self._place += 1
        entering = arguments[0] if arguments else next(iter(named.values()), None)
        call = _Call(self._place, _array(entering), _array(output))
        self.calls.setdefault(id(module), []).append(call)


@contextmanager
def _watched(modules: Sequence[torch.nn.Module]) -> Iterator[_Seen]:
    seen = _Seen()
    handles = [
        module.register_forward_hook(seen.keep, with_kwargs=True)
        for module in {id(module): module for module in modules}.values()
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _lists(model: torch.nn.Module) -> Iterator[tuple[str, list[torch.nn.Module]]]:
    """The lists of modules of a model, the outer ones first."""
    import torch

    for name, module in model.named_modules():
        if isinstance(module, (torch.nn.ModuleList, torch.nn.Sequential)) and len(module):
            yield name, list(module)


def _groups(spec: ModelSpec) -> Groups:
    """The names of blocks by their kind: "blocks", and for CaiT "blocks_token_only"."""
    found: dict[str, list[str]] = {}
    for name in spec.block_names()[1:]:
        found.setdefault(name.rpartition(".")[0], []).append(name)
    return found


def _token_counts(spec: ModelSpec) -> set[int]:
    """How many tokens blocks may give."""
    config = spec.config
    return {config.num_patches, getattr(config, "num_tokens", config.num_patches), 1}


def _named(kind: str, tokens: Sequence[np.ndarray], first: bool = True) -> dict[str, np.ndarray]:
    blocks = {f"{kind}.{i}": each for i, each in enumerate(tokens[1:])}
    return {"embeddings": tokens[0], **blocks} if first else blocks


def _array(value: Any) -> np.ndarray | None:
    """The first tensor of what a module takes or gives."""
    import torch

    if isinstance(value, (tuple, list)) and value:
        value = value[0]
    if not isinstance(value, torch.Tensor) or not value.is_floating_point():
        return None
    array: np.ndarray = value.detach().float().numpy().copy()
    return array


def _batch_first(tokens: np.ndarray | None, count: int) -> np.ndarray | None:
    """(n, tokens, dim), also of tokens that came as (tokens, n, dim)."""
    if tokens is None or tokens.ndim != 3:
        return None
    if len(tokens) == count:
        return tokens
    return tokens.transpose(1, 0, 2) if tokens.shape[1] == count else None
