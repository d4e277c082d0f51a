from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipeline.train.kinds import UNKNOWN, Learns, list_kinds, name_kinds, places_of_kinds

TRUTH = pd.DataFrame({"SUBCLASS": ["Ia", "IIP", "IIP", None], "TEMPLATE": ["SALT2", "one", None, "two"]})


@pytest.mark.parametrize(
    ("learns", "expected"),
    [
        ("classes", [UNKNOWN] * 4),
        ("subtypes", ["Ia", "IIP", "IIP", UNKNOWN]),
        ("templates", ["Ia SALT2", "IIP one", UNKNOWN, UNKNOWN]),
    ],
)
def test_a_kind_is_named_as_far_as_the_truth_says_it(learns: Learns, expected: list[str]) -> None:
    assert name_kinds(TRUTH, learns).tolist() == expected


def test_a_class_of_which_nothing_finer_is_known_is_one_kind() -> None:
    names, labels = ["IIP", "IIn", UNKNOWN], np.array([1, 1, 0])
    kinds = list_kinds(names, labels, 2)
    assert kinds == ((0, UNKNOWN), (1, "IIP"), (1, "IIn"))
    assert places_of_kinds([*names, "IIL", "IIP"], np.array([1, 1, 0, 1, 0]), kinds).tolist() == [1, 2, -1, -1, -1]


def test_kinds_that_are_but_the_classes_are_none() -> None:
    assert list_kinds(["Ia", "IIP"], np.array([0, 1]), 2) == ()
