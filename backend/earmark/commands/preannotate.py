"""``earmark preannotate`` command: bulk prediction of a project's tasks by the workers."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from earmark.commands.common import AsJson, DataDir, ProjectName, find, opened, print_json
from earmark.prediction.task_selection import Selection
from earmark.wording import counted, runnable

if TYPE_CHECKING:
    from rich.console import Console

    from earmark.services import Services
    from earmark.store.models import Project
    from earmark.store.preannotations import Progress

POLL_SECONDS = 0.5
SHOWN_FAILURES = 20
PLAIN_EVERY_SECONDS = 10.0
NOTHING_TO_DO = "Every one of these tasks has a prediction of the active version: nothing to do."

Tasks = Annotated[
    Selection,
    typer.Option(help="unlabelled: not submitted or skipped yet; outdated: predicted by an older version"),
]
Cancel = Annotated[bool, typer.Option("--cancel", help="Stop the run of this project; what is done stays")]
Detach = Annotated[bool, typer.Option("--detach", help="Hand the work to the workers and do not wait for it")]


def preannotate(
    project: ProjectName,
    tasks: Tasks = Selection.UNLABELLED,
    detach: Detach = False,
    cancel: Cancel = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Predict many tasks at once, with all workers together, and store the predictions in Label Studio.

    Tasks that have a prediction of the active version are left alone, so it may be stopped and started
    again at any time: a run of the same tasks that was left goes on where it was, and what it lacks follows.
    Ctrl-C only stops watching.

    earmark preannotate 3   (what is not labelled yet)

    earmark preannotate 3 --tasks all --detach   (everything, in the background)

    earmark preannotate 3 --cancel

    Exit code 1: some tasks could not be predicted; they are listed, the others are done. Or the run was
    cancelled meanwhile.
    """
    from rich.console import Console

    from earmark.store.preannotations import run_progress

    # Progress goes to standard error, results to standard output
    console = Console(stderr=True, highlight=False)
    with opened(data_dir) as services:
        row = find(services, project)
        if cancel:
            _cancel(services, row)
            return
        if detach:
            _detach(services, row, tasks, console)
            return
        watched: list[int] = []
        try:
            for runs in _rounds(services, row, tasks, console):
                watched += [run for run in runs if run not in watched]
                if _watch(services, runs, console).cancelled:
                    break
        except KeyboardInterrupt:
            _say(
                "The workers go on. The same command shows how far they are, --cancel stops them."
                if watched
                else "Stopped: nothing was asked of the workers."
            )
            raise typer.Exit(130) from None
        if not watched:
            _say(NOTHING_TO_DO)
            return
        with services.database.read() as session:
            progress = run_progress(session, *watched)
        _print_summary(progress, as_json)
    if progress.failed or progress.cancelled:
        raise typer.Exit(1)


def _detach(services: Services, project: Project, tasks: Selection, console: Console) -> None:
    runs = sorted(set().union(*_plan(services, project, tasks, (), console)))
    if not runs:
        _say(NOTHING_TO_DO)
        return
    _enqueue_jobs(services, console)
    numbers = ", ".join(map(str, runs))
    _say(f"With the workers: run {numbers}. The same command without --detach shows how far it is.")


def _rounds(
    services: Services, project: Project, tasks: Selection, console: Console
) -> Iterator[Sequence[int]]:
    """Yield the runs to wait for, in rounds, until a run of this selection has tried each of the tasks.

    Unfinished runs come first, then runs of the tasks that these lack: they may cover only one request.
    """
    from earmark.store.preannotations import run_progress, tasks_of, unfinished_runs

    tried: set[int] = set()
    with services.database.read() as session:
        unfinished = [run.id for run in unfinished_runs(session, project.key) if run.selection == tasks]
    if unfinished:
        console.print(f"Run {', '.join(map(str, unfinished))} of {tasks} tasks goes on.")
        yield unfinished
        with services.database.read() as session:
            tried |= tasks_of(session, unfinished)
    while True:
        new_runs, other_runs = _plan(services, project, tasks, tried, console)
        if new_runs or other_runs:
            yield [*other_runs, *new_runs]
        if not other_runs:
            return
        # Runs of another selection may have skipped tasks that belong to this one.
        with services.database.read() as session:
            tried |= tasks_of(session, new_runs) | set(map(int, run_progress(session, *other_runs).failed))


def _plan(
    services: Services, project: Project, tasks: Selection, tried: Collection[int], console: Console
) -> tuple[list[int], list[int]]:
    """Find the tasks that need a prediction, except tried ones, and store a run over them.

    Returns
    -------
    Ids of the new run, if there is one, and of unfinished runs that already contain some of the tasks.
    """
    from earmark.prediction.bulk_plan import find_tasks, store_run
    from earmark.store.preannotations import planned_tasks

    with console.status("looking through the tasks …") as status:
        need = find_tasks(
            services,
            project,
            tasks,
            lambda seen, needed: status.update(f"{needed:,} of {seen:,} tasks need a prediction"),
        )
    wanted = {task_id: seconds for task_id, seconds in need.tasks.items() if task_id not in tried}
    with services.database.read() as session:
        planned = planned_tasks(session, project.key)
    other_runs = sorted({planned[task_id] for task_id in wanted.keys() & planned.keys()})
    new = store_run(services, project.key, tasks, need.version, wanted)
    return [new.id] if new else [], other_runs


def _cancel(services: Services, project: Project) -> None:
    from earmark.store.preannotations import cancel_run, unfinished_runs

    with services.database.write() as session:
        unfinished = unfinished_runs(session, project.key)
        for run in unfinished:
            cancel_run(session, run.id)
    _say(
        f"{len(unfinished)} runs cancelled; the predictions that were made stay."
        if unfinished
        else "There is no run."
    )


def _enqueue_jobs(services: Services, console: Console) -> bool:
    """Enqueue jobs for the workers; return whether a worker is running, and warn if none is."""
    import redis

    from earmark.jobs.preannotation import ensure_preannotation
    from earmark.jobs.queue import job_queue, live_workers
    from earmark.jobs.queues import QueueKind
    from earmark.jobs.redis_server import connect

    connection = connect(services.settings, answer_seconds=5.0)
    try:
        ensure_preannotation(connection, services.database)
        workers = live_workers(job_queue(connection, QueueKind.PREDICT))
    except (redis.RedisError, OSError):
        workers = 0
    finally:
        connection.close()
    if not workers:
        console.print(
            runnable(
                "[yellow]![/] No worker is running: start the backend ('earmark up') or "
                "'earmark worker', on any machine with the same Redis and database."
            )
        )
    return bool(workers)


def _watch(services: Services, runs: Sequence[int], console: Console) -> Progress:
    """Show the progress of runs until they end: a bar on a terminal, plain lines elsewhere."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from earmark.store.preannotations import run_progress

    warned, last_line = False, -PLAIN_EVERY_SECONDS
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("predicting")
        started, done_at_start = time.monotonic(), None
        while True:
            with services.database.read() as session:
                progress = run_progress(session, *runs)
            done = progress.tasks_done
            done_at_start = done if done_at_start is None else done_at_start
            rate = (done - done_at_start) / max(time.monotonic() - started, 1e-9)
            bar.update(
                task, total=progress.tasks, completed=done, description=f"predicting, {rate:.1f} tasks/s"
            )
            if not console.is_terminal and time.monotonic() - last_line >= PLAIN_EVERY_SECONDS:
                last_line = time.monotonic()
                print(f"{done:,} of {progress.tasks:,} tasks, {rate:.1f} a second", file=sys.stderr)
            if not progress.chunks_left:
                return progress
            if not (warned or _enqueue_jobs(services, console)):
                warned = True
            time.sleep(POLL_SECONDS)


def _print_summary(progress: Progress, as_json: bool) -> None:
    if as_json:
        figures = {
            "tasks": progress.tasks,
            "predicted": progress.predicted,
            "labels": dict(sorted(progress.labels.items())),
            "failed": progress.failed,
            "cancelled": progress.cancelled,
        }
        print_json(figures)
        return
    left_out = progress.tasks - progress.predicted - len(progress.failed) - progress.cancelled
    _say(
        f"New predictions: {progress.predicted:,} of {counted(progress.tasks, 'task')}"
        + (f"; {left_out:,} had one by then, or were labelled meanwhile." if left_out else ".")
    )
    if progress.cancelled:
        _say(f"{progress.cancelled:,} are left, because the run was cancelled.")
    width = max((len(label) for label in progress.labels), default=0)
    for label, count in sorted(progress.labels.items(), key=lambda item: (-item[1], item[0])):
        _say(f"  {label:{width}}  {count:,}")
    if progress.failed:
        _say(f"{counted(len(progress.failed), 'task')} could not be predicted:")
        for task, sentence in list(progress.failed.items())[:SHOWN_FAILURES]:
            _say(f"  task {task}: {sentence}")
        if len(progress.failed) > SHOWN_FAILURES:
            _say(f"  … and {len(progress.failed) - SHOWN_FAILURES:,} more; --json lists all of them.")


def _say(line: str) -> None:
    typer.echo(line)
