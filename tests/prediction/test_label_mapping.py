"""A head under a label config other than the one it was fitted with."""

from __future__ import annotations

import numpy as np
import pytest

from earmark.head.cross_validated_head import CrossValidatedHead
from earmark.head.model import ControlHead, Head
from earmark.head.zero_shot import NONE_OF_THESE
from earmark.labels.control import Control
from earmark.labels.control_types.base import ControlType
from earmark.labels.control_types.choices import MULTIPLE_CHOICE, SINGLE_CHOICE
from earmark.prediction.label_mapping import as_configured, fitted_as_configured

NOWHERE = np.zeros((1, 1), np.float32)


def head_of(shares: dict[str, tuple[float, ...]], kind: ControlType = SINGLE_CHOICE) -> Head:
    """Each label has a column for each of its shares; a label is as likely as its likeliest column."""
    columns = [share for each in shares.values() for share in each]
    widths = tuple(len(each) for each in shares.values())
    control = ControlHead(
        "c",
        kind,
        tuple(shares),
        np.zeros(1, np.float32),
        np.ones(1, np.float32),
        np.zeros((1, len(columns)), np.float32),
        np.log(columns).astype(np.float32),
        np.linspace(0.1, 0.9, len(shares)).astype(np.float32),
        widths if max(widths) > 1 else (),
    )
    return Head("e-1", {"c": control})


def control(*labels: str, kind: ControlType = SINGLE_CHOICE) -> Control:
    return Control("c", "audio", kind, labels, "audio")


def shares(head: Head) -> dict[str, float]:
    fitted = head.controls["c"]
    return dict(zip(fitted.labels, fitted.probabilities(NOWHERE)[0].tolist(), strict=True))


PLAIN = head_of({"a": (0.5,), "b": (0.3,), "c": (0.2,)})


def test_nothing_changed_and_labels_added_is_the_same_head() -> None:
    assert as_configured(PLAIN, [control("a", "b", "c")], {}) is PLAIN
    assert as_configured(PLAIN, [control("c", "new", "b", "a")], {"c": {"z": "new"}}) is PLAIN


def test_a_removed_label_leaves_its_share_to_the_others() -> None:
    served = as_configured(PLAIN, [control("b", "c")], {})
    assert shares(served) == pytest.approx({"b": 0.6, "c": 0.4})
    assert served.controls["c"].thresholds == pytest.approx([0.5, 0.9])


def test_a_renamed_label_keeps_its_share_and_place() -> None:
    served = as_configured(PLAIN, [control("a", "x", "c")], {"c": {"b": "x"}})
    assert shares(served) == pytest.approx({"a": 0.5, "x": 0.3, "c": 0.2})
    assert as_configured(PLAIN, [control("a", "x")], {"other": {"b": "x"}}).controls["c"].labels == ("a",)


def test_a_label_of_its_own_goes_before_one_that_was_renamed_to_it() -> None:
    served = as_configured(PLAIN, [control("a", "c")], {"c": {"b": "a"}})
    assert shares(served) == pytest.approx({"a": 5 / 7, "c": 2 / 7})


def test_labels_of_several_columns_and_the_hidden_one() -> None:
    head = head_of({"a": (0.1, 0.5), "b": (0.3,), NONE_OF_THESE: (0.2,)})
    served = as_configured(head, [control("x", "y")], {"c": {"a": "x"}})
    assert shares(served) == pytest.approx({"x": 5 / 7, NONE_OF_THESE: 2 / 7})
    assert served.controls["c"].columns == (2, 1)
    assert Head.from_bytes(served.to_bytes()).controls["c"].labels == ("x", NONE_OF_THESE)


def test_a_control_that_is_gone_or_knows_nothing_any_more_is_silent() -> None:
    for other in (
        control("new"),
        control("a", kind=MULTIPLE_CHOICE),
        Control("d", "audio", SINGLE_CHOICE, ("a",), "u"),
    ):
        assert as_configured(PLAIN, [other], {}).controls == {}
    hidden = head_of({"a": (0.5,), NONE_OF_THESE: (0.5,)})
    assert as_configured(hidden, [control("new")], {}).controls == {}


def test_fold_heads_follow_too() -> None:
    fitted = CrossValidatedHead(PLAIN, (PLAIN, PLAIN), {"x": 0, "y": 1})
    served = fitted_as_configured(fitted, [control("z", "b", "c")], {"c": {"a": "z"}})
    assert [head.controls["c"].labels for head in (served.head, *served.folds)] == [("z", "b", "c")] * 3
    assert served.assignment == fitted.assignment
