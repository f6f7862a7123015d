"""Every control on sound, from webhook to version to prediction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from earmark.labels.control import Control
from earmark.labels.label_config import parse_label_config
from earmark.learning.training import learn
from earmark.prediction.predictor import Predictor
from earmark.services import Services
from earmark.store.scores import list_scores
from tests.lessons import KEY, make_tones, receive, webhook

CONFIG = """<View><Audio name="audio" value="$rec.url"/>
<labels name="label"><label value="Low"/><label value="High"/></labels>
<Choices name="correct" toName="audio" perRegion="true">
<Choice value="Correct"/><Choice value="Wrong"/></Choices>
<Choices name="corrected" toName="audio" perRegion="true">
<Choice value="Low"/><Choice value="High"/></Choices>
<Choices name="pitch" toName="audio" perRegion="true"><Choice value="deep"/><Choice value="shrill"/></Choices>
<Taxonomy name="kind" toName="audio">
<Choice value="Tone"><Choice value="Low"/><Choice value="High"/></Choice></Taxonomy>
<Choices name="offered" toName="audio" value="$variants"/>
<Rating name="stars" toName="audio" maxRating="2"/>
<Number name="level" toName="audio"/>
<Choices name="q" toName="audio"><Choice value="Yes"/><Choice value="No"/></Choices>
<View visibleWhen="choice-selected" whenTagName="q" whenChoiceValue="Yes">
<Choices name="detail" toName="audio" choice="multiple"><Choice value="x"/></Choices></View></View>"""
BY_NAME = {control.name: control for control in parse_label_config(CONFIG)}


@pytest.fixture
def tones(tmp_path: Path) -> list[dict[str, Any]]:
    tasks = make_tones(tmp_path, ["Low", "High"] * 6)
    variants = [{"value": "Low"}, {"value": "High"}]
    return [{**task, "data": {"rec": {"url": task["data"]["audio"]}, "variants": variants}} for task in tasks]


def item(name: str, kind: str, value: object, region: str = "") -> dict[str, Any]:
    span = {"start": 1.0, "end": 2.0, "channel": 0} if region else {}
    named = {"id": region or name, "from_name": name, "to_name": "audio", "type": kind, "origin": "manual"}
    return {**named, "value": {**span, kind: value}}


def annotation(label: str) -> list[dict[str, Any]]:
    """All regions were drawn as Low, and those of a high tone were corrected."""
    low = label == "Low"
    corrected = [] if low else [item("corrected", "choices", ["High"], "r")]
    return [
        item("label", "labels", ["Low"], "r"),
        item("correct", "choices", ["Correct" if low else "Wrong"], "r"),
        *corrected,
        item("pitch", "choices", ["deep" if low else "shrill"], "r"),
        item("kind", "taxonomy", [["Tone", label]]),
        item("offered", "choices", [label]),
        item("stars", "rating", 1 if low else 2),
        item("level", "number", 3),
        item("q", "choices", ["Yes" if low else "No"]),
        *([item("detail", "choices", ["x"])] if low else []),
    ]


def chosen(items: list[dict[str, Any]]) -> dict[str, Any]:
    return {each["from_name"]: each["value"][each["type"]] for each in items}


def test_each_control_is_learned_and_predicted(services: Services, tones: list[dict[str, Any]]) -> None:
    receive(services, *(webhook(task, CONFIG, result=annotation(task["label"])) for task in tones[:10]))
    training = learn(services, KEY)
    assert training is not None
    assert (training.outcome, training.detail) == ("registered", "")
    answer = Predictor(services).predict(tones[10:], KEY, CONFIG)
    assert answer.failures == {}
    low, high = (chosen(each["result"]) for each in answer.items)
    assert low == {
        "label": ["Low"],
        "pitch": ["deep"],
        "kind": [["Tone", "Low"]],
        "offered": ["Low"],
        "stars": 1,
        "q": ["Yes"],
        "detail": ["x"],
    }
    assert high == {
        "label": ["High"],
        "pitch": ["shrill"],
        "kind": [["Tone", "High"]],
        "offered": ["High"],
        "stars": 2,
        "q": ["No"],
    }
    ids = {each["from_name"]: each["id"] for each in answer.items[0]["result"]}
    assert ids["pitch"] == ids["label"] != ids["kind"]
    # Another training scores what was shown, of the controls that were visible
    receive(services, *(webhook(task, CONFIG, result=annotation(task["label"])) for task in tones[10:]))
    assert learn(services, KEY) is not None
    with services.database.read() as session:
        last = {score.task_id: score.distances for score in list_scores(session, KEY)}
    assert last[11].keys() == BY_NAME.keys()
    assert last[12].keys() == BY_NAME.keys() - {"detail"}


def test_a_task_offers_its_own_choices(services: Services, tones: list[dict[str, Any]]) -> None:
    receive(services, *(webhook(task, CONFIG, result=annotation(task["label"])) for task in tones[:10]))
    learn(services, KEY)
    data = {**tones[10]["data"], "variants": [{"value": "High"}, {"value": "new"}]}
    (item,) = Predictor(services).predict([{**tones[10], "data": data}], KEY, CONFIG).items
    assert chosen(item["result"]).get("offered") in (None, ["High"])


def test_tags_for_two_sounds_learn_as_one(services: Services, tones: list[dict[str, Any]]) -> None:
    label_config = (
        '<View><Audio name="a" value="$a"/><Audio name="b" value="$b"/><Choices name="c" toName="a,b">'
        '<Choice value="Low"/><Choice value="High"/></Choices></View>'
    )
    first, second = parse_label_config(label_config)
    assert (first.head_name, second.head_name, second.from_name) == ("c", "c", "c")
    tasks = [
        {**low, "data": {"a": low["data"]["rec"]["url"], "b": high["data"]["rec"]["url"]}}
        for low, high in zip(tones[::2], tones[1::2], strict=True)
    ]

    def of(control: Control, label: str) -> dict[str, Any]:
        return {**item("c", "choices", [label]), "to_name": control.to_name, "id": control.to_name}

    # Each sound alone would have one choice
    result = [of(first, "Low"), of(second, "High")]
    receive(services, *(webhook(task, label_config, result=result) for task in tasks[:5]))
    training = learn(services, KEY)
    assert training is not None
    assert training.outcome == "registered"
    (answer,) = Predictor(services).predict(tasks[5:], KEY, label_config).items
    assert {each["to_name"]: each["value"]["choices"] for each in answer["result"]} == {
        "a": ["Low"],
        "b": ["High"],
    }
