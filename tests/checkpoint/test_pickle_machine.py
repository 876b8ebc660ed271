"""The pickle machine alone: opcodes as Python's own does them, and what each may cost."""

from __future__ import annotations

import io
import pickle
from typing import Any

import pytest

from vit_convert.checkpoint.pickle_stacks import Machine, no_persistent
from vit_convert.checkpoint.unpickler import load_pickle
from vit_convert.errors import CheckpointError
from vit_convert.runtime.limits import VARIABLE

STOPS = (
    b"N(0.",  # POP takes a mark where nothing is above it
    b"K\x01K\x020.",
    b"K\x01(K\x02K\x031.",
    b"(K\x01(0K\x02t.",
    b"](K\x01K\x02e2\x86.",
)


@pytest.mark.parametrize("opcodes", STOPS)
def test_the_stack_is_popped_as_python_pops_it(opcodes: bytes) -> None:
    expected = pickle.loads(opcodes)
    assert load_pickle(io.BytesIO(opcodes), len(opcodes), "x") == expected


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setenv(VARIABLE, "pickle_copies=100, pickle_odd_keys=2")
    return Machine(no_persistent, 10**6)


@pytest.mark.parametrize(
    ("allowed", "too_much"),
    [
        ((b"x" * 60, "y" * 40), (b"x" * 60, "y" * 41)),
        ((bytearray(100),), (bytearray(101),)),
        (([1, 2, 3], {4: 5, 6: 7}, "abcd"), ((1, 2, 3), {4, 5}, frozenset([6, 7]))),
        ((1 << 999, None, 2.5), ([[]] * 7,)),
        ([b"x" * 1000], ({1: 2, 3: 4}, b"x" * 69)),  # the arguments of a call are a tuple
    ],
)
def test_what_a_call_may_copy_is_limited(machine: Machine, allowed: Any, too_much: Any) -> None:
    """A byte costs 1, a member of a container 16."""
    machine.charge(allowed)
    other = Machine(no_persistent, 10**6)
    with pytest.raises(CheckpointError, match="pickle_copies"):
        other.charge(too_much)


def test_texts_and_short_numbers_are_keys_without_a_limit(machine: Machine) -> None:
    for key in (*map(str, range(50)), *range(50), None, True, -(1 << 40)):
        assert machine.key(key) == key
    assert machine.key(2.5) == 2.5
    assert machine.key((1, "a")) == (1, "a")
    for odd in (1 << 70, b"z"):
        with pytest.raises(CheckpointError, match="pickle_odd_keys"):
            machine.key(odd)
