"""Labels that are new, removed or renamed: predictions at once, and later trainings."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import pytest

from earmark.labels.config_changes import current_label_names, update_label_config
from earmark.labels.label_config import parse_label_config
from earmark.learning.training import learn
from earmark.prediction.predictor import Predictor
from earmark.services import Services
from earmark.store.annotations import apply_event
from earmark.store.events import record_event
from earmark.store.models import Project
from earmark.store.registry import list_versions
from tests.lessons import KEY, config, make_tones, project_updated, receive, webhook

LOW_HIGH = config("Low", "High")


@pytest.fixture
def tones(tmp_path: Path) -> list[dict[str, Any]]:
    return make_tones(tmp_path, ["Low", "High"] * 3)


def teach(services: Services, tasks: list[dict[str, Any]], label_config: str = LOW_HIGH) -> None:
    receive(services, *(webhook(task, label_config) for task in tasks))
    assert learn(services, KEY) is not None


def predicted(services: Services, task: dict[str, Any], label_config: str) -> dict[str, Any]:
    (item,) = Predictor(services).predict([task], KEY, label_config).items
    return item


def tag(item: dict[str, Any]) -> list[str]:
    return [label for r in item["result"] if r["type"] == "choices" for label in r["value"]["choices"]]


def region_labels(item: dict[str, Any]) -> set[str]:
    return {label for r in item["result"] if r["type"] == "labels" for label in r["value"]["labels"]}


def names(services: Services, label_config: str) -> Any:
    with services.database.read() as session:
        return current_label_names(session, KEY, parse_label_config(label_config))


def test_a_renamed_label_answers_at_once_and_its_old_annotations_teach_it(
    services: Services, tones: list[dict[str, Any]]
) -> None:
    teach(services, tones[:4])
    renamed = config("Deep", "High")
    receive(services, project_updated(renamed))
    item = predicted(services, tones[4], renamed)
    assert (item["model_version"], tag(item), region_labels(item)) == ("logmel-v1", ["Deep"], {"Deep"})
    assert set(item["probabilities"]["tags"]) == {"Deep", "High"}
    # Nothing but the new name was learned with: the old annotations carry the old one still
    learn(services, KEY)
    item = predicted(services, tones[4], renamed)
    assert (item["model_version"], tag(item)) == ("logmel-v2", ["Deep"])
    assert tag(predicted(services, tones[5], renamed)) == ["High"]


@pytest.mark.parametrize("by_setup", [True, False])
def test_chains_and_the_way_back(services: Services, tones: list[dict[str, Any]], by_setup: bool) -> None:
    teach(services, tones[:4])
    for label in ("Deep", "Bass"):
        if by_setup:
            with services.database.write() as session:
                update_label_config(session, KEY, config(label, "High"), time.time())
        else:
            receive(services, project_updated(config(label, "High")))
    assert tag(predicted(services, tones[4], config("Bass", "High"))) == ["Bass"]
    chain = {"Low": "Bass", "Deep": "Bass"}
    assert names(services, config("Bass", "High")) == {"label": chain, "tags": chain}
    learn(services, KEY)
    # Annotations use the old name, but as a name of this very label
    receive(services, project_updated(LOW_HIGH))
    assert tag(predicted(services, tones[4], LOW_HIGH)) == ["Low"]
    teach(services, tones[5:])
    assert tag(predicted(services, tones[4], LOW_HIGH)) == ["Low"]


def test_a_label_that_annotations_use_is_never_taken_for_a_renamed_one(
    services: Services, tones: list[dict[str, Any]]
) -> None:
    teach(services, tones[:4])
    receive(services, project_updated(config("High")))
    receive(services, project_updated(config("Low")))
    assert names(services, config("Low")) == {}
    item = predicted(services, tones[5], config("Low"))
    assert region_labels(item) == set()


def test_also_one_that_only_waiting_webhooks_use(services: Services, tones: list[dict[str, Any]]) -> None:
    receive(services, *(webhook(task, LOW_HIGH) for task in tones[:4]))
    receive(services, project_updated(config("High")), project_updated(config("Low")))
    assert names(services, config("Low")) == {}


def test_a_webhook_that_waited_brings_no_former_config_back(
    services: Services, tones: list[dict[str, Any]]
) -> None:
    receive(services, *(webhook(task, LOW_HIGH) for task in tones[:4]))
    renamed = config("Deep", "High")
    with services.database.write() as session:
        update_label_config(session, KEY, renamed, time.time())
    learn(services, KEY)
    with services.database.read() as session:
        assert session.get_one(Project, KEY).label_config == renamed
    assert tag(predicted(services, tones[4], renamed)) == ["Deep"]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_webhooks_that_overtake_each_other_end_at_the_last_config(
    services: Services, order: tuple[int, ...]
) -> None:
    sent = []
    for second, label in enumerate(("Low", "Deep", "Bass")):
        payload = project_updated(config(label, "High"))
        payload["project"]["updated_at"] = f"2026-11-20T18:20:0{second}.607200Z"
        sent.append(payload)
    receive(services, *(sent[position] for position in order))
    with services.database.read() as session:
        assert session.get_one(Project, KEY).label_config == config("Bass", "High")
    # What says no time is as new as it comes
    receive(services, project_updated(LOW_HIGH))
    with services.database.read() as session:
        assert session.get_one(Project, KEY).label_config == LOW_HIGH


def test_a_removed_label_is_gone_at_once_and_leaves_its_probability_to_the_others(
    services: Services, tmp_path: Path
) -> None:
    tones = make_tones(tmp_path, ["Low", "High", "Middle"] * 3)
    every = config("Low", "High", "Middle")
    teach(services, tones[:6], every)
    assert tag(predicted(services, tones[6], every)) == ["Low"]
    left = config("High", "Middle")
    item = predicted(services, tones[6], left)
    assert "Low" not in str(item["result"])
    after = item["probabilities"]["tags"]
    assert set(after) == {"High", "Middle"}
    assert sum(after.values()) == pytest.approx(1.0, abs=1e-5)


def test_a_new_label_is_predicted_after_its_first_annotation(services: Services, tmp_path: Path) -> None:
    tones = make_tones(tmp_path, ["Low", "High", "Low", "High", "Middle", "Middle"])
    teach(services, tones[:4])
    more = config("Low", "High", "Middle")
    receive(services, project_updated(more))
    assert set(predicted(services, tones[5], more)["probabilities"]["tags"]) == {"Low", "High"}
    teach(services, tones[4:5], more)
    item = predicted(services, tones[5], more)
    assert set(item["probabilities"]["tags"]) == {"Low", "High", "Middle"}
    assert tag(item) == ["Middle"]


def test_a_changed_config_is_learnt_from_once(services: Services, tones: list[dict[str, Any]]) -> None:
    teach(services, tones[:4])
    receive(services, project_updated(LOW_HIGH))
    assert learn(services, KEY) is None, "a title or a description changes no head"
    # /setup brings the config before the webhook does; what changed in it is learned all the same
    several = config("Low", "High", choice="multiple")
    with services.database.write() as session:
        update_label_config(session, KEY, several, time.time())
    receive(services, project_updated(several), project_updated(several))
    assert learn(services, KEY) is not None
    receive(services, project_updated(several))
    assert learn(services, KEY) is None
    with services.database.read() as session:
        assert [version.name for version in list_versions(session, KEY)] == ["logmel-v2", "logmel-v1"]


@pytest.mark.parametrize("odd", [None, 3, [], "", "no XML", "\x00", "\ud800", "<View/>"])
def test_odd_label_configs_break_nothing(services: Services, odd: object) -> None:
    receive(services, project_updated(LOW_HIGH))
    payload: dict[str, Any] = project_updated(LOW_HIGH)
    payload["project"]["label_config"] = odd
    payload["project"]["title"] = odd
    receive(services, payload)
    with services.database.write() as session:
        apply_event(session, record_event(session, payload))
    receive(services, project_updated(config("Deep", "High")))
    expected = {"tags": {"Low": "Deep"}, "label": {"Low": "Deep"}}
    unread = isinstance(odd, str) and odd in ("no XML", "<View/>")
    assert names(services, config("Deep", "High")) == ({} if unread else expected)
