"""The four leaf rules."""

from __future__ import annotations

import numpy as np
import pytest

from vit_convert.architectures import Parameter


@pytest.mark.parametrize(
    ("parameter", "path", "shape"),
    [
        (Parameter("head.weight", (2, 3), "linear"), "head/kernel", (3, 2)),
        (Parameter("head.bias", (2,), "plain"), "head/bias", (2,)),
        (
            Parameter("patch_embed.proj.weight", (2, 3, 4, 5), "conv"),
            "patch_embed/proj/kernel",
            (4, 5, 3, 2),
        ),
        (Parameter("blocks.3.norm1.weight", (2,), "norm"), "blocks.3/norm1/gamma", (2,)),
        (Parameter("blocks.3.norm1.bias", (2,), "norm"), "blocks.3/norm1/beta", (2,)),
        (Parameter("norm.bias", (2,), "norm"), "norm/beta", (2,)),
        (Parameter("cls_token", (1, 1, 2), "plain"), "cls_token/value", (1, 1, 2)),
        (Parameter("blocks.12.gamma_1", (2,), "plain"), "blocks.12/gamma_1", (2,)),
        (Parameter("blocks.0.ls1.gamma", (2,), "plain"), "blocks.0/ls1/gamma", (2,)),
    ],
    ids=lambda x: x.name if isinstance(x, Parameter) else "",
)
def test_path_shape_and_layout(parameter: Parameter, path: str, shape: tuple[int, ...]) -> None:
    assert parameter.keras_path == path
    assert parameter.keras_shape == shape
    array = np.arange(np.prod(parameter.shape)).reshape(parameter.shape)
    keras = parameter.to_keras(array)
    assert keras.shape == shape
    np.testing.assert_array_equal(parameter.from_keras(keras), array)


def test_linear_is_transposed_and_convolution_moved() -> None:
    linear = Parameter("head.weight", (2, 3), "linear")
    array = np.arange(6).reshape(2, 3)
    assert linear.to_keras(array)[2, 1] == array[1, 2]
    conv = Parameter("patch_embed.proj.weight", (2, 3, 4, 5), "conv")
    array = np.arange(120).reshape(2, 3, 4, 5)
    assert conv.to_keras(array)[3, 4, 2, 1] == array[1, 2, 3, 4]
