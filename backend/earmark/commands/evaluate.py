"""``earmark evaluate`` and ``earmark report``: figures for a paper, and the page of a project as a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from earmark.commands.common import AsJson, DataDir, ProjectName, find, opened
from earmark.processes.loading import loading, waiting

if TYPE_CHECKING:
    from earmark.evaluation.evaluation import Evaluation

FoldsBy = Annotated[
    str,
    typer.Option(
        help="What folds are grouped by: recording, or a field of the tasks such as site, recordist or fold"
    ),
]
Folds = Annotated[
    int, typer.Option(min=2, max=50, help="Number of folds; a field of up to 10 values has one for each")
]
Test = Annotated[
    str | None,
    typer.Option(
        metavar="FIELD=VALUE|FILE",
        help="A fixed test set instead of folds: by a field, or a list of task numbers or file names",
    ),
]
FILES = {
    "evaluation.txt": "text", "evaluation.json": "json", "evaluation.csv": "csv", "evaluation.tex": "latex",
}  # fmt: skip
"""Files of a report, by their names."""
SCORES = "scores.csv"
_REPLACED = ", in place of what an earlier run wrote there"


def evaluate(
    project: ProjectName,
    folds_by: FoldsBy = "recording",
    folds: Folds = 5,
    test: Test = None,
    form: Annotated[
        Literal["text", "json", "csv", "latex"], typer.Option("--format", help="Of the figures")
    ] = "text",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File of the figures")] = None,
    scores: Annotated[
        Path | None, typer.Option(help="CSV with the probability of each label for each sound")
    ] = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Measure how well a project's labels are predicted on recordings that were not learned from.

    A head is fitted for each fold as a training fits it, and measured on the recordings left out: precision,
    recall, F1 and average precision of each label with bootstrap intervals, confusions, events and segments
    (sed_eval), calibration, and the agreement of annotators.
    """
    evaluation, rows = _evaluated(project, folds_by, folds, test, data_dir)
    text = _written(evaluation, "json" if as_json else form)
    if scores is not None:
        from earmark.evaluation.reports import scores_csv

        _save(scores, scores_csv(rows))
    if out is None:
        typer.echo(text.rstrip("\n"))
    else:
        _save(out, text)


def report(
    project: ProjectName,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="Folder of the figures, or a file that ends in .html of the page"),
    ],
    folds_by: FoldsBy = "recording",
    folds: Folds = 5,
    test: Test = None,
    data_dir: DataDir = None,
) -> None:
    """Write the figures of 'evaluate' to a folder: as text, JSON, CSV and LaTeX, and the scores of sounds.

    Files of an earlier report are replaced.

    With --out report.html, write the project's page as one file instead, to send to others: what the model
    is good at, its learning curve, labels and corrections with spectrograms. No folds are measured then.
    """
    from earmark.evaluation.reports import scores_csv

    if out.suffix.lower() == ".html":
        _save_page(project, out, data_dir)
        return
    evaluation, rows = _evaluated(project, folds_by, folds, test, data_dir)
    texts = {name: _written(evaluation, form) for name, form in FILES.items()} | {SCORES: scores_csv(rows)}
    replaced = any([_save(out / name, text) for name, text in texts.items()])
    typer.echo(f"{', '.join(texts)} are in {out}{_REPLACED if replaced else ''}")


def _evaluated(
    project: str, folds_by: str, folds: int, test: str | None, data_dir: Path | None
) -> tuple[Evaluation, list[tuple[object, ...]]]:
    with loading():
        from earmark.evaluation.evaluation import evaluate as evaluate_project
        from earmark.evaluation.splits import SplitRules
        from earmark.importing.console import stages

    with opened(data_dir) as services, stages() as show:
        return evaluate_project(services, find(services, project), SplitRules(folds_by, folds, test), show)


def _written(evaluation: Evaluation, form: str) -> str:
    from earmark.evaluation import reports

    writers = {
        "text": reports.as_text, "json": reports.as_json, "csv": reports.as_csv, "latex": reports.as_latex,
    }  # fmt: skip
    return writers[form](evaluation)


def _save_page(project: str, out: Path, data_dir: Path | None) -> None:
    with loading():
        from earmark.web.report import project_report

    with opened(data_dir) as services, waiting("drawing the page"):
        replaced = _save(out, project_report(services, find(services, project).key))
    typer.echo(f"The page is in {out}{_REPLACED if replaced else ''}")


def _save(path: Path, text: str) -> bool:
    """Write a file; return whether it replaced one of an earlier run."""
    from earmark.export.writers import writing_text

    replaced = path.exists()
    with writing_text(path) as file:
        file.write(text)
    return replaced
