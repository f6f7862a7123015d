"""What was shown and what was submitted instead."""

from __future__ import annotations

from earmark.labels.label_config import parse_label_config
from earmark.labels.region import Region
from earmark.labelstudio.result_reader import ReadResult
from earmark.learning.segment_metrics import measure
from earmark.learning.shown_results import confusions, is_changed, seconds_open, stored_result
from earmark.store.models import Annotation
from tests.lessons import config

LABEL, TAGS = parse_label_config(config("Owl", "Jay", choice="multiple"))


def result(*regions: tuple[float, float, str], tags: frozenset[str] = frozenset()) -> ReadResult:
    spans = tuple(Region(start, end, frozenset({label})) for start, end, label in regions)
    return ReadResult({"label": spans}, {"tags": tags})


def changed(annotated: ReadResult, predicted: ReadResult) -> bool:
    distances = [measure(control, annotated, predicted, None) for control in (LABEL, TAGS)]
    return any(is_changed(distance) for distance in distances if distance)


def test_an_edge_that_was_moved_is_a_change_and_rounding_is_none() -> None:
    assert not changed(result((1.0, 2.0, "Owl")), result((1.0, 2.001, "Owl")))
    assert changed(result((1.0, 2.0, "Owl")), result((1.0, 2.1, "Owl")))
    assert changed(result((1.0, 2.0, "Owl")), result())
    assert changed(result(tags=frozenset({"Owl"})), result(tags=frozenset({"Jay"})))


def test_which_label_was_shown_in_place_of_which() -> None:
    truth = result((1.0, 3.0, "Owl"), tags=frozenset({"Owl"}))
    shown = result((2.0, 4.0, "Jay"), (1.0, 1.5, "Owl"), tags=frozenset({"Jay"}))
    assert confusions(LABEL, truth, shown) == [("Owl", "Jay", 1.0)]
    assert confusions(TAGS, truth, shown) == [("Owl", "Jay", 1.0)]


def test_what_is_stored() -> None:
    assert stored_result(result((1.0, 2.00049, "Owl"), tags=frozenset({"Owl"}))) == {
        "regions": {"label": [[1.0, 2.0, ["Owl"]]]},
        "tags": {"tags": ["Owl"]},
    }


def test_a_task_that_was_left_has_no_time() -> None:
    def row(shown_at: float, updated_at: float, worked_on: bool = False) -> Annotation:
        return Annotation(shown_at=shown_at, updated_at=updated_at, worked_on=worked_on)

    opened = [row(100.0, 130.0), row(0.0, 130.0), row(100.0, 9000.0), row(100.0, 130.0, worked_on=True)]
    assert [seconds_open(annotation) for annotation in opened] == [30.0, 0.0, 0.0, 0.0]
