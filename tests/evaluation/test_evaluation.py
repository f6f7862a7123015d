"""Evaluation of a project, from its annotations to the files for a paper."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from earmark.cli import app
from earmark.errors import ConfigurationError, NotEnoughAnnotationsError
from earmark.evaluation.evaluation import SCORE_COLUMNS, Evaluation, evaluate
from earmark.evaluation.reports import as_csv, as_json, as_latex, as_text, scores_csv
from earmark.evaluation.splits import SplitRules
from earmark.learning.training import learn
from earmark.services import Services
from earmark.settings import Settings
from earmark.store.models import Project
from tests.lessons import KEY, config, make_tones, receive, webhook

CONFIG = config("Low", "High")
SITES = ["north_1", "south & west"]


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Services that all tests of this module share: none of them changes the project."""
    folder = tmp_path_factory.mktemp("data")
    with Services(Settings(_env_file=None, data_dir=folder, encoder="logmel")) as built:
        built.database.upgrade()
        yield built


@pytest.fixture(scope="module")
def project(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Project:
    tones = make_tones(tmp_path_factory.mktemp("tones"), ["Low", "High"] * 6)
    for number, task in enumerate(tones):
        task["data"] |= {"site": SITES[number // 2 % 2], "split": "test" if number > 7 else "dev"}
    receive(services, *(webhook(task, CONFIG) for task in tones))
    learn(services, KEY)
    with services.database.read() as session:
        return session.get_one(Project, KEY)


@pytest.fixture(scope="module")
def evaluated(services: Services, project: Project) -> tuple[Evaluation, list[tuple[object, ...]]]:
    return evaluate(services, project, SplitRules())


def test_a_project_is_measured_on_recordings_that_were_not_learned_from(
    evaluated: tuple[Evaluation, list[tuple[object, ...]]],
) -> None:
    evaluation, rows = evaluated
    assert (evaluation.sounds, evaluation.recordings, len(evaluation.splits)) == (12, 12, 5)
    regions, tags = evaluation.controls
    assert {row.label: row.support for row in tags.classes} == {"Low": 6, "High": 6}
    assert tags.overall["micro_f1"].value > 0.9
    assert regions.events is not None
    assert regions.events.overall["event_f1"].value > 0.5
    assert len(rows) == 12 * 2 * 2
    assert {len(row) for row in rows} == {len(SCORE_COLUMNS)}


def test_folds_by_a_field_and_a_fixed_test_set(services: Services, project: Project) -> None:
    by_site, rows = evaluate(services, project, SplitRules("site"))
    assert set(by_site.splits) == set(SITES)
    fold = SCORE_COLUMNS.index("fold")
    assert {row[fold] for row in rows} == set(SITES)
    fixed, _ = evaluate(services, project, SplitRules(test="split=test"))
    assert (fixed.sounds, fixed.splits) == (4, ("test",))
    with pytest.raises(ConfigurationError, match="no field recordist"):
        evaluate(services, project, SplitRules("recordist"))


def test_progress_has_the_number_of_sounds_that_are_measured(services: Services, project: Project) -> None:
    shown: list[tuple[str, int, int]] = []

    def show(stage: str, done: int, total: int) -> None:
        shown.append((stage, done, total))

    fixed, _ = evaluate(services, project, SplitRules(test="split=test"), show)
    by_stage: dict[str, list[tuple[int, int]]] = {}
    for stage, done, total in shown:
        by_stage.setdefault(stage, []).append((done, total))
    reading, measuring, computing = by_stage.values()
    assert reading == [(0, 0)]
    assert measuring == [(done, fixed.sounds) for done in range(fixed.sounds + 1)]
    assert computing == [(0, 2), (1, 2)]


def test_nothing_annotated_is_said(services: Services, project: Project) -> None:
    empty = Project(key="9.1", label_config=project.label_config, title="", hostname="")
    with pytest.raises(NotEnoughAnnotationsError):
        evaluate(services, empty, SplitRules())


def test_reports_say_the_same_in_every_form(
    evaluated: tuple[Evaluation, list[tuple[object, ...]]],
) -> None:
    evaluation, rows = evaluated
    content = json.loads(as_json(evaluation))
    table = list(csv.DictReader(io.StringIO(as_csv(evaluation))))
    (f1,) = (r for r in table if (r["control"], r["label"], r["figure"]) == ("tags", "Low", "f1"))
    (stored,) = (c for c in content["controls"][1]["classes"] if c["label"] == "Low")
    assert float(f1["value"]) == pytest.approx(stored["f1"]["value"], abs=1e-6)
    assert f"{stored['f1']['value']:.2f}" in as_text(evaluation)
    collar = content["controls"][0]["events"]["matching"]
    assert "200 ms" in collar
    assert collar in as_text(evaluation)
    assert collar.replace("%", r"\%") in as_latex(evaluation)
    odd = replace(evaluation, method="50% of a_b & c")
    latex = as_latex(odd)
    assert r"50\% of a\_b \& c" in latex
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 2
    assert all(line.count("&") == latex_columns(latex) - 1 for line in rows_of(latex))
    assert len(list(csv.DictReader(io.StringIO(scores_csv(rows))))) == len(rows)


def rows_of(latex: str) -> list[str]:
    tags = latex.split(r"\begin{table}")[2]
    return [line for line in tags.splitlines() if line.startswith(("Low", "High", "label"))]


def latex_columns(latex: str) -> int:
    return len(latex.split(r"\begin{tabular}{")[2].split("}")[0])


def test_the_commands_write_what_they_measure(
    services: Services, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_DIR", str(services.settings.data_dir))
    monkeypatch.setenv("ENCODER", "logmel")
    run = CliRunner().invoke(app, ["report", KEY, "--out", str(tmp_path / "paper")])
    assert run.exit_code == 0, run.output
    names = {path.name for path in (tmp_path / "paper").iterdir()}
    assert names == {"evaluation.txt", "evaluation.json", "evaluation.csv", "evaluation.tex", "scores.csv"}
    run = CliRunner().invoke(app, ["evaluate", KEY, "--json", "--test", "split=test"])
    assert run.exit_code == 0, run.output
    assert json.loads(run.stdout)["splits"] == ["test"]


def test_an_evaluation_is_the_same_each_time(
    services: Services, project: Project, evaluated: tuple[Evaluation, list[tuple[object, ...]]]
) -> None:
    again, _ = evaluate(services, project, SplitRules())
    assert again == evaluated[0]
