"""Options as text: what a user types becomes a value of the type of the default."""

from __future__ import annotations

import pytest

from neurometa.errors import SpecificationError
from neurometa.meta.settings import convert, options_of
from neurometa.tasks.sinusoid import Sinusoid


@pytest.mark.parametrize(
    ("text", "default", "value"),
    [
        ("0.1, 5", (0.1, 5.0), (0.1, 5.0)),
        ("-1,2e-3,", (0.5,), (-1.0, 0.002)),
        ("40,-1", (8, 8), (40, -1)),
        ("*.w,2", ("*",), ("*.w", 2)),
        ("a,b", (), ("a", "b")),
        ("0.5", 1.0, 0.5),
        ("7", 1, 7),
        ("no", True, False),
        ("none", None, None),
        ("relu", "tanh", "relu"),
    ],
)
def test_text_becomes_a_value_of_the_type_of_the_default(text, default, value):
    found = convert(text, default, "x")
    assert found == value and type(found) is type(value)
    if isinstance(value, tuple):
        assert [type(each) for each in found] == [type(each) for each in value]


@pytest.mark.parametrize(
    ("text", "default", "kind"),
    [("1,x", (0.1, 5.0), "row of numbers"), ("1.5", (8,), "row of numbers"), ("1.5", 8, "whole number")],
)
def test_text_that_does_not_fit_is_refused(text, default, kind):
    with pytest.raises(SpecificationError, match=f"task.x is '{text}'; it must be a {kind}"):
        convert(text, default, "task.x")


def test_a_range_of_a_task_can_be_typed():
    task = Sinusoid(**options_of("task", Sinusoid, {"amplitude": "0.5,2.5"}))
    assert task.amplitude == (0.5, 2.5) and task.floor() > 0
