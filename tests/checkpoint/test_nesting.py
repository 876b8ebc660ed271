"""The weights are found where training code puts them, and --key chooses."""

import pytest
import torch

from vit_convert.checkpoint import open_checkpoint
from vit_convert.checkpoint.nesting import PREFERRED
from vit_convert.errors import CheckpointError


def weights(value: float) -> dict[str, torch.Tensor]:
    return {"w": torch.full((2, 3), value), "b": torch.full((3,), value)}


@pytest.fixture
def opened(save):
    return lambda content, key=None: open_checkpoint(save(content), key)


@pytest.mark.parametrize("name", ["", *PREFERRED, "something_else"])
def test_one_level(opened, name):
    checkpoint = opened({name: weights(1), "epoch": 3} if name else weights(1))
    assert (checkpoint.key, checkpoint.candidates) == (name, (name,))
    assert list(checkpoint.tensors) == ["w", "b"]
    assert checkpoint.extras == ({"epoch": 3} if name else {})


def test_two_levels(opened):
    checkpoint = opened({"model_ema": {"module": weights(1), "updates": 9}, "epoch": 3})
    assert checkpoint.key == "model_ema.module"
    assert checkpoint.extras == {"epoch": 3, "model_ema.updates": 9}


def test_the_model_comes_before_its_average(opened):
    content = {"model_ema": {"module": weights(2)}, "ema": weights(3), "model": weights(1)}
    checkpoint = opened(content)
    assert checkpoint.candidates == ("model", "ema", "model_ema.module")
    assert checkpoint.tensors["w"].read()[0, 0] == 1
    assert checkpoint.extras == {}
    assert opened(content, "model_ema.module").tensors["w"].read()[0, 0] == 2
    assert opened(content, "model_ema").key == "model_ema.module"
    assert opened(content, "ema").tensors["w"].read()[0, 0] == 3


def test_dino_teacher_before_student(opened):
    content = {"student": weights(1), "teacher": weights(2), "optimizer": {"state": {}}}
    assert opened(content).candidates == ("teacher", "student")
    assert opened({"model": content}).candidates == ("model.teacher", "model.student")


def test_the_documented_order(opened):
    content = {name: weights(1) for name in reversed(PREFERRED)}
    assert opened(content).candidates == PREFERRED


def test_of_unknown_names_the_largest(opened):
    content = {"statistics": {"mean": torch.ones(2)}, "generator": weights(1)}
    assert opened(content).candidates == ("generator", "statistics")


def test_tensors_beside_a_state_dict_do_not_hide_it(opened):
    checkpoint = opened({"mean": torch.ones(3), "std": torch.ones(3), "state_dict": weights(1)})
    assert checkpoint.key == "state_dict"
    assert checkpoint.extras["mean"].read().tolist() == [1, 1, 1]


def test_values_inside_a_state_dict_are_extras(opened):
    assert opened({"model": {**weights(1), "version": 2}}).extras == {"model.version": 2}
    assert opened({**weights(1), "version": 2}).extras == {"version": 2}


def test_optimizer_state_is_no_candidate(opened):
    weight = torch.nn.Parameter(torch.randn(3, 2))
    optimizer = torch.optim.Adam([weight])
    weight.sum().backward()
    optimizer.step()
    assert opened({"optimizer": optimizer.state_dict(), "net": {"w": weight}}).candidates == (
        "net",
    )


def test_a_tuple_at_the_top(opened):
    assert opened((weights(1), 7)).key == "0"


def test_names_keep_their_prefixes(opened):
    names = ["module.backbone.w", "module.head.b"]
    assert list(opened({name: torch.ones(2) for name in names}).tensors) == names


def test_an_unknown_key_lists_the_known_ones(opened):
    with pytest.raises(CheckpointError) as caught:
        opened({"model": weights(1), "ema": weights(2)}, "nope")
    assert "'nope'" in caught.value.what
    assert caught.value.expected == "one of: model, ema"


@pytest.mark.parametrize(
    "content", [{}, [], 3, "text", None, {"a": 1}, torch.ones(3), {1: torch.ones(2)}]
)
def test_no_weights(opened, content):
    with pytest.raises(CheckpointError, match="no weights"):
        opened(content)
