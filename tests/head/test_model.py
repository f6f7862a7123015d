from __future__ import annotations

import contextlib
import json
import struct
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load, save

from earmark.errors import HeadDamagedError
from earmark.head.model import ControlHead, Head, read_metadata
from earmark.head.region_scorer import DEFAULT_GAP_SECONDS, RegionScorer
from earmark.labels.control_types.base import ControlType
from earmark.labels.control_types.choices import MULTIPLE_CHOICE, SINGLE_CHOICE
from earmark.labels.control_types.labels import REGION_LABELS


def control_head(
    kind: ControlType = MULTIPLE_CHOICE,
    labels: tuple[str, ...] = ("dog", "köra «x»"),
    embedding_dim: int = 5,
    seed: int = 0,
) -> ControlHead:
    rng = np.random.default_rng(seed)
    classes = len(labels)
    return ControlHead(
        "tags",
        kind,
        labels,
        rng.normal(size=embedding_dim).astype(np.float32),
        rng.uniform(0.5, 2, embedding_dim).astype(np.float32),
        rng.normal(size=(embedding_dim, classes)).astype(np.float32),
        rng.normal(size=classes).astype(np.float32),
        rng.uniform(size=classes).astype(np.float32),
    )


def test_sigmoids_are_independent_and_a_single_choice_sums_to_one() -> None:
    embeddings = np.random.default_rng(1).normal(size=(7, 5)).astype(np.float32)
    multiple = control_head(MULTIPLE_CHOICE)
    logits = ((embeddings - multiple.mean) / multiple.scale) @ multiple.weights + multiple.bias
    assert multiple.probabilities(embeddings) == pytest.approx(1 / (1 + np.exp(-logits)), abs=1e-6)
    single = control_head(SINGLE_CHOICE).probabilities(embeddings)
    assert single == pytest.approx(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), abs=1e-6)
    assert single.dtype == np.float32


def test_extreme_embeddings_stay_probabilities() -> None:
    embeddings = np.full((1, 5), 1e30, dtype=np.float32)
    for kind in (SINGLE_CHOICE, MULTIPLE_CHOICE, REGION_LABELS):
        probabilities = control_head(kind).probabilities(embeddings)
        assert np.isfinite(probabilities).all()
        assert ((probabilities >= 0) & (probabilities <= 1)).all()


def test_a_change_reaches_the_labels_that_a_head_has_and_nothing_else() -> None:
    served, seen = control_head(REGION_LABELS), list[int]()

    def change(control: ControlHead, places: list[int]) -> ControlHead:
        seen.extend(places)
        return replace(control, held_back=True)

    two = served.labels[::-1][:2]
    part = replace(served, labels=two)
    head = Head("e-1", {served.control: part, "other": served}, per_channel=True)
    changed = head.changed(served, change)
    assert [served.labels[place] for place in seen] == list(two)
    assert (changed.identity, changed.per_channel) == ("e-1", True)
    assert (changed.controls[served.control].held_back, changed.controls["other"].held_back) == (True, False)
    assert head.changed(replace(served, labels=("another",)), change) is head
    assert head.changed(replace(served, control="absent"), change) is head


def test_scorers_of_former_releases_have_the_default_gaps() -> None:
    scorer = replace(RegionScorer.default(2), gaps=np.array([0.5, 1.0], dtype=np.float32))
    head = Head("logmel-1", {"tags": replace(control_head(REGION_LABELS), scorer=scorer)})
    stored = head.to_bytes()
    arrays = {name: values for name, values in load(stored).items() if not name.endswith("scorer.gaps")}
    former = save(arrays, metadata={"earmark": json.dumps(read_metadata(stored))})
    for data, gaps in ((stored, [0.5, 1.0]), (former, [DEFAULT_GAP_SECONDS] * 2)):
        read = Head.from_bytes(data).controls["tags"].scorer
        assert read is not None
        assert read.gaps.tolist() == pytest.approx(gaps)


def test_a_head_survives_its_bytes() -> None:
    head = Head("logmel-1", {"tags": control_head(), "one": control_head(SINGLE_CHOICE, ("a",), seed=3)})
    head.controls["one"] = ControlHead("one", *list(vars(head.controls["one"]).values())[1:])
    data = head.to_bytes()
    again = Head.from_bytes(data)
    assert again.identity == "logmel-1"
    assert list(again.controls) == ["tags", "one"]
    for name, control in head.controls.items():
        restored = again.controls[name]
        assert (restored.control, restored.type, restored.labels) == (name, control.type, control.labels)
        for array in ("mean", "scale", "weights", "bias", "thresholds"):
            assert np.array_equal(getattr(restored, array), getattr(control, array))
    assert again.to_bytes() == data


@given(st.integers(0, 10**6), st.integers(0, 255))
def test_a_changed_header_or_a_cut_never_passes_as_something_else(position: int, value: int) -> None:
    data = Head("logmel-1", {"tags": control_head()}).to_bytes()
    with pytest.raises(HeadDamagedError, match="train the project again"):
        Head.from_bytes(data[: position % len(data)])
    changed = bytearray(data)
    changed[position % len(data)] = value
    with contextlib.suppress(HeadDamagedError):  # any other error is a failure
        Head.from_bytes(bytes(changed))  # some changes are legal: a label spelled otherwise


@pytest.mark.parametrize("data", [b"", b"not a head", b"\x80\x04pickle", struct.pack("<Q", 2) + b"{}"])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(HeadDamagedError):
        Head.from_bytes(data)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('\\"format\\": 1', '\\"format\\": 9'),
        ('\\"kind\\": \\"multiple\\"', '\\"kind\\": \\"nonsense\\"'),
        ('[\\"dog\\", ', "["),
    ],
)
def test_a_contradictory_description_is_refused(old: str, new: str) -> None:
    data = Head("logmel-1", {"tags": control_head()}).to_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = data[8 : 8 + length].decode()
    assert old in header
    changed = header.replace(old, new).rstrip().encode()
    assert json.loads(changed)
    changed += b" " * (-len(changed) % 8)
    with pytest.raises(HeadDamagedError):
        Head.from_bytes(struct.pack("<Q", len(changed)) + changed + data[8 + length :])


def test_a_label_is_as_likely_as_the_likeliest_of_its_columns() -> None:
    plain = control_head(labels=("a", "b", "c"))
    merged = replace(plain, labels=("a", "bc"), thresholds=plain.thresholds[:2], columns=(1, 2))
    embeddings = np.random.default_rng(2).normal(size=(9, 5)).astype(np.float32)
    apart, together = plain.probabilities(embeddings), merged.probabilities(embeddings)
    assert np.array_equal(together, np.stack([apart[:, 0], apart[:, 1:].max(axis=1)], axis=1))
    data = Head("cnn14-1", {"tags": merged}).to_bytes()
    assert Head.from_bytes(data).controls["tags"].columns == (1, 2)
    assert Head.from_bytes(data).to_bytes() == data
    assert b"columns" not in Head("cnn14-1", {"tags": plain}).to_bytes()


@pytest.mark.parametrize("columns", [(1, 1), (3,), (0, 3), (1, 2, 0), (True, 2), (1.0, 2), "12"])
def test_columns_that_do_not_fit_are_refused(columns: Any) -> None:
    head = replace(control_head(labels=("a", "b", "c")), labels=("a", "bc"), columns=columns)
    head = replace(head, thresholds=head.thresholds[:2])
    with pytest.raises(HeadDamagedError):
        Head.from_bytes(Head("cnn14-1", {"tags": head}).to_bytes())
