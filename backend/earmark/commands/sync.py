"""``earmark sync`` command: compare a project with Label Studio and store the differences."""

from __future__ import annotations

import dataclasses

from earmark.commands.common import AsJson, DataDir, ProjectName, find, opened, print_json


def sync(project: ProjectName, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Compare a project with what Label Studio holds, and take over what was missed.

    Imports with annotations send no webhook, and a webhook that comes while this backend is down is
    never sent again. A running backend compares by itself: when a project connects, after its own
    start, on Start Training and every SYNC_INTERVAL_SECONDS. What is found is learned as if it had just been
    annotated, as soon as the backend runs.
    """
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from earmark.commands.tables import say
    from earmark.labelstudio.health import check_label_studio
    from earmark.learning.synchronization import Difference
    from earmark.learning.synchronization import sync as compare_with_label_studio

    with opened(data_dir) as services:
        row = find(services, project)
        check_label_studio(services.access.required(row).url)
        with Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        ) as progress:
            bar = progress.add_task("asking Label Studio")

            def show(so_far: Difference) -> None:
                progress.update(bar, description=f"{so_far.tasks:,} annotated tasks read")

            diff = compare_with_label_studio(services, row.key, show)
    if as_json:
        print_json({"project": row.key, **dataclasses.asdict(diff)})
        return
    say(f"{diff.tasks:,} tasks with {diff.annotations:,} annotations in Label Studio, project {row.title}.")
    if diff.is_empty:
        say("All of it was known: nothing to do.")
        return
    say(
        f"{diff.missed:,} annotations were not known, {diff.changed:,} had changed, "
        f"{diff.deleted:,} are gone"
        + (", and the label config is another one." if diff.label_config else ".")
    )
    say("It is learned as soon as the backend runs.")
