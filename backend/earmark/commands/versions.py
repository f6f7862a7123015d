"""Commands about versions: ``earmark versions | progress | promote | rollback | compare``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from earmark.commands.common import ABOUT_PROJECT, AsJson, DataDir, ProjectName, find, opened, print_json
from earmark.processes.loading import loading, waiting

if TYPE_CHECKING:
    from earmark.services import Services
    from earmark.store.models import Project

VersionName = Annotated[str, typer.Argument(metavar="VERSION", help="its name, such as cnn14-v3, or v3")]


def versions(
    project: Annotated[str | None, typer.Argument(metavar="[PROJECT]", help=ABOUT_PROJECT)] = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
    every: Annotated[bool, typer.Option("--all", help="Old versions too")] = False,
) -> None:
    """List what was trained: which version answers, how good each was measured to be, and why."""
    with loading():
        from earmark.api.versions import read_versions
        from earmark.commands.tables import VERSIONS_SHOWN, print_versions

    with opened(data_dir) as services:
        key = find(services, project).key if project else None
        answer = read_versions(services, key)
    if as_json:
        print_json(answer.model_dump())
    else:
        print_versions(answer, None if every else VERSIONS_SHOWN)


def progress(project: ProjectName, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Show the learning curve: predictions against the annotations that followed, by their number and person.

    Each annotation is compared with what was shown for it before anything was learned from it.
    """
    with loading():
        from earmark.api.versions import read_versions
        from earmark.commands.tables import print_curve

    with opened(data_dir) as services:
        (state,) = read_versions(services, find(services, project).key).projects
    if as_json:
        print_json(state.model_dump())
    elif state.learning_curve:
        print_curve(state.learning_curve)


def promote(
    project: ProjectName, version: VersionName, as_json: AsJson = False, data_dir: DataDir = None
) -> None:
    """Make a version the one that answers, whatever was measured. Every process follows at once."""
    from earmark.store.registry import promote as promote_version

    with opened(data_dir) as services:
        project_row, before = find(services, project), ""
        with services.database.write() as session:
            before = _active_name(services, project_row)
            after = promote_version(session, project_row.key, version, services.encoder_identity())
    _report(project_row, before, after.name, as_json)


def rollback(project: ProjectName, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Go back to the version that answered before this one; once more goes one further back."""
    from earmark.store.registry import roll_back

    with opened(data_dir) as services:
        project_row, before = find(services, project), ""
        with services.database.write() as session:
            before = _active_name(services, project_row)
            after = roll_back(session, project_row.key, services.encoder_identity())
    _report(project_row, before, after.name, as_json)


def compare(
    project: ProjectName,
    a: Annotated[str, typer.Argument(metavar="A", help="a version, such as cnn14-v3, or v3")],
    b: Annotated[str, typer.Argument(metavar="B", help="another one")],
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Measure two versions on the project's annotations of now, by recordings that neither was trained on.

    Below stands what annotators saw of each, before they corrected it.
    """
    with loading():
        from earmark.commands.tables import print_comparison
        from earmark.learning.version_comparison import compare_versions

    with opened(data_dir) as services, waiting("measuring"):
        compared = compare_versions(services, find(services, project), a, b)
    if as_json:
        print_json(compared.as_json())
    else:
        print_comparison(compared)


def _active_name(services: Services, project: Project) -> str:
    version = services.serving_version(project.key)
    return version.name if version else services.untrained_name()


def _report(project: Project, before: str, after: str, as_json: bool) -> None:
    from earmark.commands.tables import say

    if as_json:
        print_json({"project": project.key, "before": before, "active": after})
        return
    title = f"project {project.project_id} ({project.title or 'untitled'})"
    if before == after:
        say(f"{after} answers for {title} already.")
    else:
        say(f"{after} now answers for {title}, {before} did before.")
        say("Open tasks in Label Studio get its predictions as soon as the backend runs.")
