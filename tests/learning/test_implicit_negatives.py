"""Implicit negatives: removed tags count as "none of these", untouched tags beside regions do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from earmark.learning.training import learn
from earmark.prediction.predictor import Predictor
from earmark.services import Services
from earmark.store.models import Annotation
from earmark.store.scores import list_scores
from tests.lessons import KEY, config, make_tones, receive, result_of, webhook

BOTH = config("Low", "High", choice="multiple")
TAGS = (
    '<View><Audio name="audio" value="$audio"/><Choices name="tags" toName="audio" choice="multiple">'
    '<Choice value="Low"/><Choice value="High"/></Choices></View>'
)


@pytest.fixture
def tones(tmp_path: Path) -> list[dict[str, Any]]:
    return make_tones(tmp_path, ["Low", "High"] * 5 + ["Middle"] * 6)


def teach(services: Services, *payloads: dict[str, Any]) -> str:
    receive(services, *payloads)
    training = learn(services, KEY)
    assert training is not None
    assert training.outcome == "registered", training.detail
    return str(training.version)


def tags(services: Services, task: dict[str, Any], label_config: str) -> set[str]:
    (item,) = Predictor(services).predict([task], KEY, label_config).items
    return {tag for r in item["result"] if r["type"] == "choices" for tag in r["value"]["choices"]}


def cleared(services: Services, task: dict[str, Any]) -> Any:
    with services.database.read() as session:
        return session.get_one(Annotation, (KEY, 100 + task["id"])).cleared


def only(kind: str, label: str) -> list[dict[str, Any]]:
    return [item for item in result_of(label) if item["type"] == kind]


def test_where_tags_are_all_there_is_an_empty_annotation_says_none_of_them(
    services: Services, tones: list[dict[str, Any]]
) -> None:
    taught, foreign = tones[:10], tones[10:]
    teach(services, *(webhook(task, TAGS, result=only("choices", task["label"])) for task in taught))
    wrong = tags(services, foreign[0], TAGS)
    assert wrong, "a sound that is neither is taken for one of them"
    teach(services, *(webhook(task, TAGS, result=[]) for task in foreign[1:]))
    assert tags(services, foreign[0], TAGS) == set()
    assert tags(services, taught[0], TAGS) == {"Low"}
    with services.database.read() as session:
        foreign_scores = [score for score in list_scores(session, KEY) if score.task_id == foreign[1]["id"]]
    extra = {label: parts["extra"] for label, parts in foreign_scores[0].distances["tags"]["labels"].items()}
    assert extra == dict.fromkeys(extra, 1.0)
    assert extra


def test_beside_regions_a_tag_that_was_shown_and_taken_away_teaches_and_no_other(
    services: Services, tones: list[dict[str, Any]]
) -> None:
    taught, foreign = tones[:10], tones[10:]
    first = teach(services, *(webhook(task, BOTH) for task in taught[:8]))
    assert tags(services, foreign[0], BOTH)
    # Before anything was shown, and never looked at: nothing is known of the tags
    assert teach(services, webhook(taught[8], BOTH, result=only("labels", "Low"), lead_time=1e9)) != first
    assert cleared(services, taught[8]) is None or cleared(services, taught[8]) == []
    regions = only("labels", "Low")
    teach(services, *(webhook(task, BOTH, result=regions) for task in foreign[1:]))
    assert cleared(services, foreign[1]) == ["tags"]
    assert tags(services, foreign[0], BOTH) == set()
    assert tags(services, taught[9], BOTH) == {"High"}
    # Chosen later, it is chosen
    again = webhook(
        {**foreign[1], "label": "High"}, BOTH, "ANNOTATION_UPDATED", updated_at="2026-11-20T19:19:01.0Z"
    )
    teach(services, again)
    assert cleared(services, foreign[1]) == ["tags"]


def test_of_several_choices_one_that_was_used_leaves_the_others_open(
    services: Services, tones: list[dict[str, Any]]
) -> None:
    other = '<Choices name="place" toName="audio" choice="multiple"><Choice value="In"/></Choices></View>'
    two = TAGS.replace("</View>", other)
    teach(services, *(webhook(task, two, result=only("choices", task["label"])) for task in tones[:6]))
    with services.database.read() as session:
        controls = {control for score in list_scores(session, KEY) for control in score.distances}
    assert controls == {"tags"}
    empty = webhook(tones[6], two, result=[])
    teach(services, empty)
    with services.database.read() as session:
        (score,) = [score for score in list_scores(session, KEY) if score.task_id == tones[6]["id"]]
    assert set(score.distances) == {"tags", "place"}
