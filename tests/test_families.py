"""The small models of families.py leave no architecture out."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from families import FAMILIES, MODELS, covering

from vit_convert.architectures import architectures


@pytest.mark.parametrize("name", [a.name for a in architectures() if a.published()])
def test_every_architecture_that_timm_has_has_a_family(name: str) -> None:
    assert name in {make().spec.architecture for make in FAMILIES.values()}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_what_its_specification_says(name: str) -> None:
    """Every parameter has the name and the shape that the architecture gives it."""
    family = MODELS[name]()
    expected = {parameter.name: parameter.shape for parameter in family.spec.parameters()}
    assert {key: array.shape for key, array in family.arrays().items()} == expected


def test_some_models_cover_the_options_of_all() -> None:
    chosen = covering(MODELS)
    assert len(chosen) < 3 / 4 * len(MODELS)

    def values(names: Iterable[str]) -> set[tuple[str, object]]:
        configs = [vars(MODELS[name]().spec.config) for name in names]
        # of a patch bias that clip alone is without, say; widths follow from what the options are
        return {
            (field, value)
            for config in configs
            for field, value in config.items()
            if not isinstance(value, (int, float, tuple)) or isinstance(value, bool)
        }

    assert values(chosen) == values(MODELS)
