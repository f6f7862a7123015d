"""Interactive assistance with a real head: label, edges, and regions that it leaves unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from earmark.cli import app
from earmark.errors import RegionError
from earmark.labels.label_config import parse_label_config, suggestion_tools
from earmark.labelstudio.result_reader import read_result
from earmark.learning.training import learn
from earmark.monitoring.project_status import project_states
from earmark.prediction.assistant import Assistant, likeliest
from earmark.prediction.drawn_regions import drawn_regions, interactive_context
from earmark.services import Services
from earmark.settings import Settings, get_settings
from earmark.store.models import Project
from earmark.web.classes import class_rows
from tests.lessons import KEY, config, make_tones, receive, result_of, webhook

LABELS = ("Low", "High")
CONFIG = config(*LABELS)
TOOL = '<Labels name="suggest" toName="audio" smartOnly="true"><Label value="Suggest"/></Labels>'
WITH_TOOL = CONFIG.replace("<View>", f"<View>{TOOL}")
TOLERANCE_SECONDS = 0.05
CHANCE = 1 / 3
"""Probability of one of the labels, or none of them."""


def drawn(start: float, end: float, labels: list[str], number: str = "drawn", **more: Any) -> dict[str, Any]:
    """A region as the editor sends it."""
    return {
        "original_length": 3.0,
        "value": {"start": start, "end": end, "channel": 0, "labels": labels},
        "id": number,
        "from_name": "label",
        "to_name": "audio",
        "type": "labels",
        "origin": "manual",
        **more,
    }


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Services, list[dict[str, Any]]]]:
    """Services of a project that has learned four tones, which sound from 1 to 2 s, and two more tasks."""
    folder = tmp_path_factory.mktemp("assist")
    with Services(Settings(_env_file=None, data_dir=folder / "data", encoder="logmel")) as services:
        services.database.upgrade()
        tasks = make_tones(folder, [*LABELS] * 3)
        receive(services, *(webhook(task, CONFIG) for task in tasks[:4]))
        learn(services, KEY)
        yield services, tasks[4:]


def answer(services: Services, task: Any, context: Any, label_config: str = CONFIG) -> list[dict[str, Any]]:
    """The results for one task."""
    answered = Assistant(services).predict([task], KEY, label_config, context)
    (item,) = answered.items
    assert item["model_version"] == "logmel-v1"
    assert not answered.failures
    result: list[dict[str, Any]] = item["result"]
    return result


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize(("start", "end"), [(0.85, 2.2), (1.2, 1.8), (1.0, 2.0)])
def test_the_label_picks_itself_and_edges_are_refined(
    taught: tuple[Services, list[dict[str, Any]]], label: str, start: float, end: float
) -> None:
    services, tasks = taught
    task = next(task for task in tasks if task["label"] == label)
    mark = drawn(start, end, ["Suggest"], from_name="suggest")
    (region,) = answer(services, task, {"result": [mark]}, WITH_TOOL)
    assert (region["id"], region["from_name"], region["to_name"], region["type"]) == (
        "drawn",
        "label",
        "audio",
        "labels",
    )
    assert region["value"]["labels"] == [label]
    assert region["origin"] == "prediction"
    assert 0 < region["score"] <= 1
    assert abs(region["value"]["start"] - 1.0) <= TOLERANCE_SECONDS
    assert abs(region["value"]["end"] - 2.0) <= TOLERANCE_SECONDS


def test_a_stretch_that_no_label_fits_well_gets_the_likeliest_one_and_refined_edges(
    taught: tuple[Services, list[dict[str, Any]]],
) -> None:
    services, (low, _) = taught
    noise = drawn(0.2, 0.7, ["Suggest"], from_name="suggest")
    (region,) = answer(services, low, {"result": [noise]}, WITH_TOOL)
    assert region["value"]["labels"][0] in LABELS
    assert region["score"] < CHANCE
    # Its end reaches into the tone, which starts at 1 s
    beside = drawn(0.3, 1.02, ["Suggest"], from_name="suggest")
    (moved,) = answer(services, low, {"result": [beside]}, WITH_TOOL)
    assert abs(moved["value"]["end"] - 1.0) <= TOLERANCE_SECONDS


def test_a_label_that_the_annotator_chose_is_sent_back_as_changed_by_hand(
    taught: tuple[Services, list[dict[str, Any]]],
) -> None:
    services, (low, _) = taught
    (right,) = answer(services, low, {"result": [drawn(0.9, 2.1, ["Low"])]})
    assert (right["value"]["labels"], right["origin"]) == (["Low"], "prediction-changed")
    assert "score" in right
    (wrong,) = answer(services, low, {"result": [drawn(0.9, 2.1, ["High"])]})
    assert (wrong["value"]["labels"], wrong["origin"]) == (["Low"], "prediction-changed")
    assert "score" not in wrong  # the editor keeps "High", whose score it is not


def test_the_editors_own_answer_comes_back_unanswered(taught: tuple[Services, list[dict[str, Any]]]) -> None:
    services, (task, _) = taught
    (region,) = answer(services, task, {"result": [drawn(0.9, 2.1, [])]})
    again = {"result": [{**region, "origin": "prediction-changed"}]}
    assert answer(services, task, again) == []
    assert answer(services, task, {"result": [region]}) == []


@pytest.mark.parametrize("place", ["annotations", "drafts", "predictions"])
def test_a_finished_task_stays_as_it_is(taught: tuple[Services, list[dict[str, Any]]], place: str) -> None:
    services, (task, _) = taught
    result = [drawn(1.0, 2.0, ["Low"], "a"), drawn(2.2, 2.8, ["Low"], "b")]
    finished = {**task, place: [{"id": 5, "result": result}]}
    assert answer(services, finished, {"result": result}) == []
    assert answer(services, finished, {"result": []}) == []
    new = drawn(0.9, 2.1, ["Low"], "c")
    assert [item["id"] for item in answer(services, finished, {"result": [*result, new]})] == ["c"]


@pytest.mark.parametrize(("place", "count"), [("drafts", 1), ("annotations", 0), ("predictions", 0)])
def test_a_marked_region_is_answered_after_the_editor_has_saved_a_draft_of_it(
    taught: tuple[Services, list[dict[str, Any]]], place: str, count: int
) -> None:
    """Label Studio saves one by itself, some seconds after the region was drawn."""
    services, (task, _) = taught
    mark = drawn(0.9, 2.1, ["Suggest"], from_name="suggest")
    saved = {**task, place: [{"id": 5, "result": [mark]}]}
    assert len(answer(services, saved, {"result": [mark]}, WITH_TOOL)) == count


def test_a_marked_region_that_has_a_label_is_left_alone(
    taught: tuple[Services, list[dict[str, Any]]],
) -> None:
    services, (task, _) = taught
    both = [drawn(1.0, 2.0, ["High"]), drawn(1.0, 2.0, ["Suggest"], from_name="suggest")]
    assert answer(services, task, {"result": both}, WITH_TOOL) == []
    assert answer(services, task, {"result": both[::-1]}, WITH_TOOL) == []


def test_several_labels_where_regions_may_carry_several(
    taught: tuple[Services, list[dict[str, Any]]],
) -> None:
    services, (task, _) = taught
    several = CONFIG.replace('name="label"', 'name="label" choice="multiple"')
    (region,) = answer(services, task, {"result": [drawn(1.0, 2.0, [])]}, several)
    assert region["value"]["labels"][0] == "Low"


def test_an_unlearned_project_and_a_missing_sound_get_an_empty_answer(
    taught: tuple[Services, list[dict[str, Any]]],
) -> None:
    services, (task, _) = taught
    context = {"result": [drawn(1.0, 2.0, [])]}
    unknown = Assistant(services).predict([task], "9.9", CONFIG, context)
    assert (unknown.version, unknown.items[0]["result"]) == ("logmel-v0", [])
    missing = Assistant(services).predict([{"data": {"audio": "/no.wav"}}, task], KEY, CONFIG, context)
    assert [item["result"] for item in missing.items] == [[], []]
    assert missing.failures == {"not_found": 1}
    broken = Assistant(services).predict([task], KEY, "<View", context)
    assert (broken.items[0]["result"], broken.failures) == ([], {"label_config": 1})
    assert Assistant(services).predict([], KEY, CONFIG, context).items == []


def test_off_for_a_project_until_it_is_turned_on_again(
    taught: tuple[Services, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    services, (task, _) = taught
    monkeypatch.setenv("DATA_DIR", str(services.settings.data_dir))
    monkeypatch.setenv("ENCODER", "logmel")
    context = {"result": [drawn(0.9, 2.1, [])]}

    def switched(how: str) -> str:
        get_settings.cache_clear()
        run = CliRunner().invoke(app, ["assist", how, "1", "--json"])
        assert run.exit_code == 0, run.output
        return run.output

    try:
        assert len(answer(services, task, context)) == 1
        assert '"assist": false' in switched("off")
        assert answer(services, task, context) == []
        with services.database.read() as session:
            project = session.get_one(Project, KEY)
        with pytest.raises(RegionError, match="assist on"):
            Assistant(services).suggest(project, CONFIG, task["data"]["audio"], 0.9, 2.1)
        assert '"assist": false' in switched("status")
        assert '"assist": true' in switched("on")
        assert len(answer(services, task, context)) == 1
    finally:
        get_settings.cache_clear()


NUMBERS = st.one_of(st.floats(), st.integers(), st.booleans(), st.none(), st.text(max_size=3))
JSON = st.recursive(
    st.one_of(NUMBERS, st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner)),
    max_leaves=8,
)
NAMES = st.sampled_from(["label", "tags", "suggest", "audio", "else", ""])
VALUES = st.fixed_dictionaries(
    {},
    optional={
        "start": st.one_of(st.floats(0, 3), NUMBERS),
        "end": st.one_of(st.floats(0, 3), NUMBERS),
        "labels": st.one_of(st.lists(st.sampled_from(["Low", "High", "?"]), max_size=2), JSON),
        "channel": NUMBERS,
    },
)
ITEMS = st.fixed_dictionaries(
    {},
    optional={
        "id": st.one_of(st.sampled_from(["a", "b", "c"]), JSON),
        "from_name": st.one_of(NAMES, JSON),
        "to_name": st.one_of(NAMES, JSON),
        "value": st.one_of(VALUES, JSON),
        "origin": st.one_of(st.none(), st.sampled_from(["manual", "prediction"]), JSON),
    },
)
CONTEXTS = st.one_of(JSON, st.fixed_dictionaries({"result": st.one_of(JSON, st.lists(ITEMS, max_size=5))}))


@given(context=CONTEXTS, stored=st.one_of(JSON, st.lists(st.one_of(JSON, ITEMS), max_size=3)))
def test_any_context_gets_at_most_one_answer_for_each_drawn_region(
    taught: tuple[Services, list[dict[str, Any]]], context: Any, stored: Any
) -> None:
    services, (task, _) = taught
    results = answer(services, {**task, "annotations": [{"result": stored}]}, context, WITH_TOOL)
    items = context.get("result") if isinstance(context, dict) else []
    sent = (
        [item["id"] for item in items if isinstance(item, dict) and isinstance(item.get("id"), str)]
        if (isinstance(items, list))
        else []
    )
    numbers = [item["id"] for item in results]
    assert len(numbers) == len(set(numbers))
    assert set(numbers) <= set(sent)
    for item in results:
        assert 0 <= item["value"]["start"] < item["value"]["end"] <= 3.0
        assert set(item["value"]["labels"]) <= set(LABELS)


@given(params=JSON)
def test_only_a_context_makes_a_request_interactive(params: Any) -> None:
    expected = params.get("context") if isinstance(params, dict) else None
    assert interactive_context(params) == expected or expected != expected
    assert interactive_context({"context": None, "login": None}) is None


def test_the_first_of_several_controls_answers_for_a_mark() -> None:
    controls = parse_label_config(WITH_TOOL)
    assert [control.name for control in controls] == ["label", "tags"]
    mark = drawn(0.0, 1.0, ["Suggest"], from_name="suggest")
    (region,) = drawn_regions({"result": [mark]}, {}, controls, suggestion_tools(WITH_TOOL))
    assert (region.control.name, region.labels) == ("label", frozenset())
    elsewhere = drawn(0.0, 1.0, ["Suggest"], from_name="suggest", to_name="other")
    assert drawn_regions({"result": [elsewhere]}, {}, controls, suggestion_tools(WITH_TOOL)) == []


def test_a_mark_that_was_submitted_beside_its_label_is_no_label(tmp_path: Path) -> None:
    tasks = make_tones(tmp_path, [*LABELS] * 2)
    value = {"start": 1.0, "end": 2.0, "channel": 0, "labels": ["Suggest"]}
    mark = {"from_name": "suggest", "to_name": "audio", "type": "labels", "id": "drawn", "value": value}
    with Services(Settings(_env_file=None, data_dir=tmp_path / "data", encoder="logmel")) as services:
        services.database.upgrade()
        for task in tasks:
            region, tag = result_of(task["label"])
            result = [{**region, "id": "drawn"}, tag, mark]
            receive(services, webhook(task, WITH_TOOL, result=result))
            read = read_result(result, parse_label_config(WITH_TOOL))
            assert [sorted(each.labels) for each in read.regions["label"]] == [[task["label"]]]
        training = learn(services, KEY)
        assert training is not None
        with services.database.read() as session:
            (state,) = project_states(session, None)
        assert state.active is not None
        head = services.head(state.active)
        assert {name: set(control.labels) for name, control in head.controls.items()} == {
            "label": set(LABELS),
            "tags": set(LABELS),
        }
        assert {row.label for row in class_rows(state, [], [])} == set(LABELS)


def test_labels_that_the_task_offers_are_suggested(tmp_path: Path) -> None:
    offered = CONFIG.replace(
        '<Labels name="label" toName="audio">', '<Labels name="label" toName="audio" value="$offered">'
    )
    for label in LABELS:
        offered = offered.replace(f'<Label value="{label}"/>', "")
    tasks = make_tones(tmp_path, [*LABELS] * 3)
    for task in tasks:
        task["data"]["offered"] = [{"value": label} for label in LABELS]
    with Services(Settings(_env_file=None, data_dir=tmp_path / "data", encoder="logmel")) as services:
        services.database.upgrade()
        receive(services, *(webhook(task, offered) for task in tasks[:4]))
        assert learn(services, KEY) is not None
        context = {"result": [drawn(0.9, 2.1, [])]}
        for task in tasks[4:]:
            (region,) = answer(services, task, context, offered)
            assert region["value"]["labels"] == [task["label"]]


def test_labels_alone_on_a_sound_are_no_suggestion_tool() -> None:
    alone = CONFIG.replace('name="label"', 'name="label" smartonly="True"')
    assert suggestion_tools(alone) == frozenset()
    assert parse_label_config(alone)[0].labels == LABELS


def test_likeliest_labels() -> None:
    thresholds = {"a": 0.5, "b": 0.4, "c": 0.9}
    assert likeliest({"a": 0.6, "b": 0.7, "c": 0.8}, thresholds) == (("b", 0.7), ("a", 0.6))
    assert likeliest({"a": 0.3, "b": 0.1, "c": 0.2}, thresholds) == (("a", 0.3),)
    assert likeliest({"a": 0.02, "b": 0.01, "c": 0.03}, thresholds) == (("c", 0.03),)
    assert likeliest({}, {}) == ()
    nan = float("nan")
    assert likeliest({"a": nan}, thresholds) == ()
    assert likeliest({"a": nan, "b": 0.1, "c": 0.3}, thresholds) == (("c", 0.3),)


def test_context_of_the_recorded_traffic_has_a_region(tmp_path: Path) -> None:
    recorded = {"result": [drawn(0.5, 1.0, ["Low"], "ctx1")]}
    del recorded["result"][0]["origin"]
    (region,) = drawn_regions(recorded, {"annotations": []}, parse_label_config(CONFIG), frozenset())
    assert (region.id, region.start, region.end) == ("ctx1", 0.5, 1.0)
