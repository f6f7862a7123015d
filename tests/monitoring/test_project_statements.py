"""Status messages of a project: waiting, labels without examples, renames, annotators who disagree."""

from __future__ import annotations

import html
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

import earmark.learning.training
import earmark.monitoring.project_statements
from earmark.api.app import create_app
from earmark.api.versions import read_versions
from earmark.commands.tables import print_versions
from earmark.encoders.weights.cnn14_weights import ZENODO, cache_path
from earmark.encoders.weights.resumable_download import part_path
from earmark.jobs.dispatcher import DEBOUNCE_SHARE
from earmark.learning.training import learn
from earmark.monitoring.doctor.projects import projects as project_findings
from earmark.monitoring.project_statements import Statement, project_statements
from earmark.monitoring.project_status import NOTHING_YET, project_states
from earmark.services import Services
from earmark.settings import Settings
from earmark.store.events import ANNOTATIONS_SYNCED
from earmark.store.models import Training
from earmark.store.projects import acquire_lease, remember_project
from tests.lessons import KEY, PROJECT, config, make_tones, project_updated, receive, result_of, webhook

CONFIG = config("Low", "High")
ADDRESS = "http://studio.example:8080"


@pytest.fixture
def tones(tmp_path: Path) -> list[dict[str, Any]]:
    return make_tones(tmp_path, ["Low", "High"] * 4)


def statements(services: Services, kind: str = "", now: float | None = None) -> list[Statement]:
    with services.database.read() as session:
        (state,) = project_states(session, services.encoder_identity())
    all_statements = project_statements(state, services.settings, now)
    return [statement for statement in all_statements if kind in ("", statement.kind)]


def everywhere(services: Services, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What the doctor, the page and ``versions`` say of the projects."""
    doctor = " ".join(
        " ".join((finding.text, finding.remedy)) for finding in project_findings(services.settings)
    )
    with TestClient(create_app(services.settings)) as client:
        page = client.get("/").text
    capsys.readouterr()
    print_versions(read_versions(services))
    return [doctor, page, capsys.readouterr().out]


def synced(tones: list[dict[str, Any]]) -> dict[str, Any]:
    """What a comparison with Label Studio writes down about a project that was annotated before."""
    return {
        "action": ANNOTATIONS_SYNCED,
        "project": {**PROJECT, "label_config": CONFIG},
        "tasks": [{"id": task["id"], "data": task["data"]} for task in tones],
        "annotations": [
            {
                **webhook(task, CONFIG)["annotation"],
                "completed_by": 3,
                "created_username": "Ann Lee ann@example.org, 3",
            }
            for task in tones
        ],
        "observed_at": 1.0,
    }


def test_a_project_that_was_annotated_before_it_connected_is_not_told_to_annotate(
    services: Services, tones: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    with services.database.write() as session:
        remember_project(session, KEY, hostname=ADDRESS, access_token="token", label_config=CONFIG)
    (waiting,) = statements(services)
    assert "fetched" in waiting.text, "it was not compared with Label Studio yet"
    receive(services, synced(tones))
    for text in everywhere(services, capsys):
        assert NOTHING_YET not in text
        assert "training" in text
    with services.database.write() as session:
        assert acquire_lease(session, KEY, "a worker", 60)
    (running,) = statements(services)
    assert "runs now" in running.text
    with services.database.write() as session:
        remember_project(session, KEY).lease_until = 0.0
    learn(services, KEY)
    for text in everywhere(services, capsys):
        assert NOTHING_YET not in text
        assert "logmel-v1" in text


def test_nothing_yet_is_said_where_nothing_was_annotated(services: Services) -> None:
    with services.database.write() as session:
        remember_project(session, KEY, label_config=CONFIG)
    assert [statement.text for statement in statements(services)] == [NOTHING_YET]


def test_why_webhooks_wait(
    services: Services, tones: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    receive(services, webhook(tones[0], CONFIG))
    now = time.time()
    (pause,) = statements(services, now=now)
    assert f"{services.settings.train_debounce_seconds:g} s without another" in pause.text
    (due,) = statements(services, now=now + 10)
    assert (due.level, "about to start" in due.text) == ("note", True)
    (stale,) = statements(services, now=now + 200)
    assert (stale.level, "worker" in stale.remedy) == ("fault", True)
    monkeypatch.setattr(earmark.learning.training, "load_training_set", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        learn(services, KEY)
    waiting, failed = statements(services)
    assert "next try" in waiting.text
    assert (failed.kind, failed.level) == ("training", "fault")


def test_after_a_quick_training_the_next_one_waits_less(
    services: Services, tones: list[dict[str, Any]]
) -> None:
    for task in tones:
        receive(services, webhook(task, CONFIG))
    learn(services, KEY)
    with services.database.write() as session:
        training = session.scalars(select(Training)).one()
        training.finished_at = training.started_at + 4.0
    receive(services, webhook(tones[0], CONFIG))
    waiting = statements(services, now=time.time())[0]
    assert f"after {DEBOUNCE_SHARE * 4:g} s without another" in waiting.text


def test_too_few_examples_and_nothing_new_are_reasons(
    services: Services, tones: list[dict[str, Any]]
) -> None:
    receive(services, webhook(tones[0], CONFIG))
    learn(services, KEY)
    (few,) = statements(services, "training")
    assert "one" in few.text
    receive(services, webhook(tones[1], CONFIG))
    learn(services, KEY)
    receive(services, {**project_updated(CONFIG), "action": "START_TRAINING"})
    learn(services, KEY)
    assert "Nothing new" in next(iter(statements(services, "training"))).text


def test_weights_on_their_way_are_a_reason(
    services: Services, tones: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    receive(services, webhook(tones[0], CONFIG))
    part = part_path(ZENODO, cache_path(services.settings))
    part.parent.mkdir(parents=True)
    with part.open("wb") as file:
        file.truncate(10_000_000)
    assert not any("weights" in statement.text for statement in statements(services)), "logmel needs none"
    monkeypatch.setattr(services, "settings", services.settings.model_copy(update={"encoder": "cnn14"}))
    first, *_ = statements(services)
    assert "10 of 327 MB" in first.text


def test_a_new_label_without_an_example_is_named_everywhere(
    services: Services, tones: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    receive(services, *(webhook(task, CONFIG) for task in tones[:4]))
    learn(services, KEY)
    assert statements(services, "labels") == []
    more = config("Low", "High", "Owl")
    receive(services, project_updated(more))
    label_statements = statements(services, "labels")
    assert [("Owl" in statement.text, "Low" in statement.text) for statement in label_statements] == [
        (True, False)
    ] * 2
    learn(services, KEY)
    for text in everywhere(services, capsys):
        assert "Owl has no example yet" in text
    receive(services, webhook({**tones[4], "label": "Owl"}, more))
    learn(services, KEY)
    assert statements(services, "labels") == []


def test_renamed_and_removed_labels_are_named_everywhere(
    services: Services, tones: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    receive(services, *(webhook(task, CONFIG) for task in tones[:4]))
    learn(services, KEY)
    renamed = config("Deep", "High")
    receive(services, project_updated(renamed))
    learn(services, KEY)
    for text in everywhere(services, capsys):
        assert "Low is now Deep" in text
    assert statements(services, "labels") == [], "Low's examples are Deep's"
    receive(services, project_updated(config("Deep")))
    learn(services, KEY)
    removed = statements(services, "labels")
    assert all("High" in statement.text and "4 uses" not in statement.text for statement in removed)
    assert len(removed) == 2
    receive(services, project_updated(renamed))
    assert statements(services, "labels") == [], "it is back"


def disagreeing(tones: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Two annotators with opposite choices on every clip; the regions are the same."""
    other = {"Low": "High", "High": "Low"}
    seconds = []
    for task in tones:
        result = [result_of(task["label"])[0], result_of(other[task["label"]])[1]]
        seconds.append(webhook(task, CONFIG, id=200 + task["id"], completed_by=7, result=result))
    return [*(webhook(task, CONFIG, completed_by=3) for task in tones), *seconds]


def test_two_annotators_who_contradict_each_other_are_named_with_their_tasks(
    services: Services, tones: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    with services.database.write() as session:
        remember_project(session, KEY, hostname=ADDRESS)
    receive(services, synced(tones), *disagreeing(tones))
    learn(services, KEY)
    (disagreement,) = statements(services, "disagreement")
    assert "8 of the 8 tasks" in disagreement.text
    assert "Ann Lee ann@example.org (user 3)" in disagreement.text
    assert "user 7" in disagreement.text
    assert "tags" in disagreement.text
    assert disagreement.tasks == tuple(range(1, 9))
    for text in everywhere(services, capsys):
        assert "disagree on 8 of the 8 tasks" in text
        assert f"{ADDRESS}/projects/1/data?task=1" in text
    (state,) = read_versions(services, KEY).projects
    (sent,) = [statement for statement in state.statements if statement.kind == "disagreement"]
    assert sent.links == [f"{ADDRESS}/projects/1/data?task={task}" for task in range(1, 9)]
    # Corrected: nothing is left to say, although it makes a version whose labels the same annotators gave
    agreeing = [
        webhook(
            task, CONFIG, "ANNOTATION_UPDATED", id=200 + task["id"], completed_by=7,
            updated_at="2026-11-20T18:20:00Z",
        )
        for task in tones
    ]  # fmt: skip
    receive(services, *agreeing)
    learn(services, KEY)
    assert statements(services, "disagreement") == []


def test_an_address_that_is_none_is_no_link(
    settings: Settings, services: Services, tones: list[dict[str, Any]]
) -> None:
    with services.database.write() as session:
        remember_project(session, KEY, hostname="javascript:alert(1)//")
    receive(services, *disagreeing(tones))
    learn(services, KEY)
    with TestClient(create_app(settings)) as client:
        assert "javascript:" not in client.get("/").text


def test_links_carry_no_password(settings: Settings, services: Services, tones: list[dict[str, Any]]) -> None:
    with services.database.write() as session:
        remember_project(session, KEY, hostname="http://me:s3cret@studio.example/ls?token=s3cret")
    receive(services, *disagreeing(tones))
    learn(services, KEY)
    with TestClient(create_app(settings)) as client:
        pages = client.get("/").text + client.get(f"/projects/{KEY}").text + client.get("/versions").text
    assert "http://studio.example/ls/projects/1/data?task=" in pages
    assert "s3cret" not in pages


def test_what_is_left_alone_is_reported(services: Services) -> None:
    label_config = (
        '<View><Audio name="audio" value="$audio"/><Labels name="label" model_encoder="birdnet">'
        '<Label value="A"/></Labels>'
        '<Number name="level"/>'
        '<Choices name="q" perRegion="true"><Choice value="Yes"/><Choice value="No"/></Choices>'
        '<Choices name="correct" perRegion="true"><Choice value="Correct"/><Choice value="Wrong"/></Choices>'
        "</View>"
    )
    receive(services, {"action": "PROJECT_UPDATED", "project": {**PROJECT, "label_config": label_config}})
    by_name = {
        statement.text.split("”")[0].removeprefix("“"): statement
        for statement in statements(services, "labels")
    }
    assert by_name["level"].level == "note"
    assert "ENCODER=birdnet" in by_name["label"].remedy
    assert "earmark_role" in by_name["q"].remedy
    assert by_name["correct"].level == "fine"


@pytest.mark.parametrize("learned", [True, False])
def test_controls_that_are_left_alone_are_named_everywhere(
    services: Services, capsys: pytest.CaptureFixture[str], learned: bool
) -> None:
    labels = '<Labels name="label" toName="audio"><Label value="A"/></Labels>' if learned else ""
    label_config = (
        f'<View><Audio name="audio" value="$audio"/>{labels}<Number name="level" toName="audio"/>'
        '<Taxonomy name="species" toName="audio" apiUrl="http://example.org/species"/></View>'
    )
    receive(services, {"action": "PROJECT_UPDATED", "project": {**PROJECT, "label_config": label_config}})
    faults = [statement for statement in statements(services, "labels") if statement.level == "fault"]
    assert bool(faults) != learned
    for shown in everywhere(services, capsys):
        assert "“level” (Number)" in shown
        assert "“species” (Taxonomy)" in shown
        assert "apiUrl" in shown
        assert all(fault.text in html.unescape(shown) for fault in faults)


def test_tags_that_are_held_back_are_explained_unless_the_label_config_asks_for_them(
    services: Services, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tags that have nothing to do with the sound save no work, however many are annotated."""
    several = config("Low", "High", choice="multiple")
    tasks = make_tones(tmp_path, ["Low"] * 12)
    random = np.random.default_rng(1)
    results = [[result_of(tag)[1]] for tag in random.permutation(["Low", "High"] * 6).tolist()]
    receive(
        services,
        *(webhook(task, several, result=result) for task, result in zip(tasks, results, strict=True)),
    )
    assert learn(services, KEY) is not None
    (held_back,) = statements(services, "held_back")
    assert "“tags”" in held_back.text
    for text in everywhere(services, capsys):
        assert "no tags are suggested" in " ".join(html.unescape(text).split())
    receive(services, project_updated(several.replace("<Choices ", '<Choices model_score_threshold="0.5" ')))
    learn(services, KEY)
    assert statements(services, "held_back") == []
