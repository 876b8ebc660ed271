"""The small models of families.py leave no architecture out."""

from __future__ import annotations

import pytest
from families import FAMILIES, MODELS

from vit_convert.architectures import architectures


@pytest.mark.parametrize("name", [architecture.name for architecture in architectures()])
def test_every_architecture_has_a_family(name: str) -> None:
    assert name in {make().spec.architecture for make in FAMILIES.values()}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_what_its_specification_says(name: str) -> None:
    """Every parameter has the name and the shape that the architecture gives it."""
    family = MODELS[name]()
    expected = {parameter.name: parameter.shape for parameter in family.spec.parameters()}
    assert {key: array.shape for key, array in family.arrays().items()} == expected
