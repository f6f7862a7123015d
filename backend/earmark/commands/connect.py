"""``earmark connect`` command: connect this backend to a project and test the webhook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from earmark.commands.common import DataDir, ProjectName

if TYPE_CHECKING:
    from earmark.services import Services


def connect(
    project: ProjectName,
    url: Annotated[
        str | None,
        typer.Option(help="This backend's address as Label Studio sees it [default: as seen from here]"),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Connect this backend to a project of Label Studio, with its password, and check each step.

    Run it again whenever the address or the password changed: it repairs the connection, and changes
    nothing where all is well. The backend must be running. LABEL_STUDIO_URL, LABEL_STUDIO_API_KEY,
    API_USER and API_PASSWORD are those of the backend that runs from this folder, where they are not set.
    """
    from rich.console import Console
    from rich.markup import escape

    from earmark.audio.addresses import same_server
    from earmark.errors import ConfigurationError, ProjectNameError
    from earmark.labelstudio.client import client_for
    from earmark.labelstudio.connection import connect_backend
    from earmark.labelstudio.projects import find_project, key_of_project
    from earmark.processes.discovery import command_settings
    from earmark.processes.stack import api_url
    from earmark.services import Services
    from earmark.store.access import accept_offer
    from earmark.store.projects import remember_project

    settings, console = command_settings(data_dir), Console()

    def done(line: str) -> None:
        console.print(f"[green]✓[/] {escape(line)}", highlight=False, soft_wrap=True)

    if settings.locked and not settings.login:
        raise ConfigurationError(
            "Label Studio signs in with a user and a password, never with a token: set API_PASSWORD as well."
        )
    client = client_for(settings)
    address = settings.label_studio_url or ""
    target = find_project(client, address, project)
    if target is None:
        raise ProjectNameError(f"Label Studio at {address} shows this token no project “{project}”.")
    done(f"project {target.id}, {target.title}, at {address}")
    key = key_of_project(target)
    with Services(settings) as services:
        services.database.upgrade()
        version = services.version_name(key)
        connect_backend(
            client, address, target.id, url or api_url(settings), version, settings.login, say=done
        )
        _try_webhook(services, client, target, key)
        with services.database.write() as session:
            row = remember_project(session, key, title=target.title)
            if not same_server(row.hostname, address) and same_server(row.offered_hostname, address):
                accept_offer(session, key)  # the operator confirms the address by this command
            row.synced_at = row.sync_after = 0.0  # compare at once, for what was missed before
    done(f"a webhook was sent and arrived; {version} answers now")


def _try_webhook(services: Services, client: Any, project: Any, key: str) -> None:
    """Test the webhook: save the project unchanged, for which Label Studio sends one.

    Raises
    ------
    LabelStudioError
        The webhook did not arrive. Label Studio sends it before it answers, so no wait is needed.
    """
    from earmark.errors import LabelStudioError
    from earmark.labelstudio.client import explained
    from earmark.store.events import last_event_id

    url = services.settings.label_studio_url
    with services.database.read() as session:
        before = last_event_id(session, key)
    with explained(url):
        client.projects.update(id=project.id, show_collab_predictions=True)
    with services.database.read() as session:
        if last_event_id(session, key) == before:
            raise LabelStudioError(
                "Everything is set up, but a webhook that Label Studio was made to send is not in this "
                f"database ({services.database.url.render_as_string(hide_password=True)}): run this command "
                "with the settings of the running backend, and read that backend's log."
            )
