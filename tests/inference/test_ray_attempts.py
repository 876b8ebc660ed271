"""When dead workers end a run on Ray, and when they don't."""

from __future__ import annotations

import pickle

from vit_convert.errors import VitConvertError
from vit_convert.inference.ray_attempts import OPENING, Attempts


def test_what_is_done_is_forgotten_and_five_deaths_at_one_unit_are_not() -> None:
    attempts = Attempts(3)
    for _ in range(20):  # a unit that is scored again, because its node was lost afterwards
        assert attempts.begin(0) is None
        attempts.end(0)
    assert [attempts.begin(7) for _ in range(5)] == [None] * 5
    assert attempts.begin(8) is None
    error = attempts.begin(7)
    assert isinstance(error, VitConvertError)
    assert "5 workers died at the same pictures" in str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_all_workers_may_open_at_the_same_time() -> None:
    attempts = Attempts(3)
    assert [attempts.begin(OPENING) for _ in range(7)] == [None] * 7
    assert "7 workers died as they opened the artifacts" in str(attempts.begin(OPENING))
