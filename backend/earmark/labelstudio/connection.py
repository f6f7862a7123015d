"""Connects a backend to a Label Studio project, idempotently, and verifies the connection.

A second run changes nothing; a run after a change of address or password repairs the connection.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import httpx

from earmark.encoders.registry import is_version_name
from earmark.errors import LabelStudioError
from earmark.labelstudio.client import explained
from earmark.labelstudio.non_idempotent_requests import ONCE, create_one

Login = tuple[str, str]
"""User name and password that the backend requires."""
SWITCHES = "LABEL_STUDIO_ML_BLOCK_LOCAL_IP=false and LABEL_STUDIO_SSRF_PROTECTION_ENABLED=false"
"""Settings of Label Studio with which it reaches backends in private networks."""
_CONNECTED = ("CO", "TR", "PR")


def connect_backend(
    client: Any,
    label_studio_url: str,
    project_id: int,
    backend_url: str,
    title: str,
    login: Login | None = None,
    say: Callable[[str], None] = lambda _line: None,
) -> int:
    """Connect the backend to a project, or repair its connection, and check each step.

    Parameters
    ----------
    client
        ``label_studio_sdk.LabelStudio``.
    label_studio_url
        Label Studio's address, for messages.
    backend_url
        The backend's address as Label Studio sees it.
    title
        Name shown in Label Studio. Uncertainty sampling and live predictions both work only if it equals
        the version that answers.
    login
        Credentials that the backend requires; None where it requires none.
    say
        Called with one line for each completed step.

    Returns
    -------
    The backend's id in Label Studio.

    Raises
    ------
    LabelStudioError
        Label Studio refuses the address, cannot reach it, is refused there, or does not register the
        webhook.
    """
    backend_url = backend_url.rstrip("/")
    with explained(label_studio_url):
        backends = list(client.ml.list(project=project_id))
    # A backend in Label Studio that is titled like a version of ours is ours.
    own_backends = sorted(
        (b for b in backends if b.url.rstrip("/") == backend_url or is_version_name(b.title or "")),
        key=lambda backend: (backend.url.rstrip("/") != backend_url, backend.id),
    )
    former_urls = [backend.url for backend in own_backends if backend.url.rstrip("/") != backend_url]
    backend_id = _upsert_backend(
        client, label_studio_url, project_id, backend_url, title, login, own_backends
    )
    say(f"Label Studio reaches {backend_url}" + (" and signs in" if login else ""))
    _set_up_project(client, label_studio_url, project_id, title)
    say("predictions are fetched whenever a task is opened, and shown")
    _set_up_webhook(client, label_studio_url, project_id, backend_url, login, former_urls)
    check_webhook(client, label_studio_url, project_id, backend_url, login)
    say("every annotation will be sent here" + (", with the password" if login else ""))
    return backend_id


def check_webhook(
    client: Any, label_studio_url: str, project_id: int, backend_url: str, login: Login | None = None
) -> None:
    """Verify that the project has an active webhook to the backend, with the right credentials.

    Label Studio with only one of its two SSRF switches off shows a backend as connected and
    silently omits its webhook, so that nothing would ever be learned. Nor does a webhook send the user and
    password that its backend was connected with.

    Raises
    ------
    LabelStudioError
        There is no active webhook for the backend, or it sends no password or another one.
    """
    address = webhook_address(backend_url)
    with explained(label_studio_url):
        webhooks = client.webhooks.list(project=project_id)
    active = [hook for hook in webhooks if hook.url == address and hook.is_active]
    if not active:
        raise _webhook_error(address)
    if login and not any((hook.headers or {}).get("Authorization") == _basic(login) for hook in active):
        raise LabelStudioError(
            f"Label Studio's webhook {address} does not show the password that the backend asks for: nothing "
            f"would be learned. Run 'earmark connect {project_id}'."
        )


def webhook_address(backend_url: str) -> str:
    """Return the URL to which Label Studio sends the webhooks of a backend."""
    return f"{backend_url.rstrip('/')}/webhook"


def _upsert_backend(
    client: Any,
    label_studio_url: str,
    project_id: int,
    backend_url: str,
    title: str,
    login: Login | None,
    own_backends: list[Any],
) -> int:
    """Create the backend, or update the first of ours; delete the others. Label Studio checks the connection.

    Returns the backend's id.
    """
    # Without a password the field is omitted: Label Studio refuses an empty one.
    auth_fields = (
        {"auth_method": "BASIC_AUTH", "basic_auth_user": login[0], "basic_auth_pass": login[1]}
        if login
        else {"auth_method": "NONE", "basic_auth_user": ""}
    )
    fields = {
        "url": backend_url,
        "project": project_id,
        "title": title,
        "is_interactive": True,
        **auth_fields,
    }
    try:
        with explained(label_studio_url):
            if own_backends:
                client.ml.update(id=own_backends[0].id, **fields)
                backend_id = int(own_backends[0].id)
            else:
                backend_id = _create_backend(client, fields)
            state = client.ml.get(id=backend_id)
    except LabelStudioError as error:
        reason = str(error)
        raise (
            _credentials_error(reason, label_studio_url, backend_url)
            or _refusal(reason, label_studio_url, backend_url)
            or error
        ) from error
    if state.state not in _CONNECTED:
        reason = f"{state.readable_state}: {state.error_message or 'no reason given'}"
        raise _credentials_error(reason, label_studio_url, backend_url) or _unreachable(
            f" ({reason})", label_studio_url, backend_url
        )
    with explained(label_studio_url):
        for surplus in own_backends[1:]:
            client.ml.delete(id=surplus.id)
    return backend_id


def _create_backend(client: Any, fields: dict[str, Any]) -> int:
    """Create the backend exactly once: Label Studio saves it early, and may run the request again."""
    from label_studio_sdk.core.api_error import ApiError

    backend_id = failure = None
    try:
        backend_id = int(client.ml.create(**fields, request_options=ONCE).id)
    except (ApiError, httpx.HTTPError) as error:
        failure = error
    backends = client.ml.list(project=fields["project"])
    saved_ids = [backend.id for backend in backends if backend.url.rstrip("/") == fields["url"]]
    if failure and not saved_ids:
        raise failure
    backend_id = backend_id or int(saved_ids[0])
    surplus_ids = [surplus_id for surplus_id in saved_ids if surplus_id != backend_id]
    for surplus_id in surplus_ids:
        client.ml.delete(id=surplus_id)
    if failure or surplus_ids:
        # The remaining one may be set up partly; and deleting one removes its title from the project
        client.ml.update(id=backend_id, **fields)
    return backend_id


def _credentials_error(reason: str, label_studio_url: str, backend_url: str) -> LabelStudioError | None:
    """Return the error where the backend answered Label Studio with 401; None for every other reason."""
    if "401 Client Error" not in reason:
        return None
    return LabelStudioError(
        f"The backend at {backend_url} refuses the user and password that Label Studio at {label_studio_url} "
        "shows: API_USER and API_PASSWORD must be the same here and where the backend runs."
    )


def _refusal(reason: str, label_studio_url: str, backend_url: str) -> LabelStudioError | None:
    """Return the error for an address at which Label Studio finds no backend; None for another reason."""
    if "health check failed" in reason:
        return _unreachable("", label_studio_url, backend_url)
    if "valid ML backend" in reason:
        return LabelStudioError(
            f"What answers at {backend_url} is no backend that Label Studio can use: check --url, and "
            "read the log of the backend."
        )
    if "reserved network" in reason:
        return LabelStudioError(
            f"Label Studio at {label_studio_url} refuses addresses of private networks, such as "
            f"{backend_url}: start it with {SWITCHES}, then connect again."
        )
    return None


def _unreachable(detail: str, label_studio_url: str, backend_url: str) -> LabelStudioError:
    return LabelStudioError(
        f"Label Studio at {label_studio_url} cannot reach the backend at {backend_url}{detail}: check that "
        "the backend runs, and give by --url an address that is valid on Label Studio's machine, not "
        "localhost when it runs in Docker."
    )


def _webhook_error(address: str) -> LabelStudioError:
    return LabelStudioError(
        f"The backend is connected, but Label Studio has not registered its webhook {address}: nothing "
        f"would be learned. Start Label Studio with {SWITCHES}, then connect again."
    )


def _set_up_project(client: Any, label_studio_url: str, project_id: int, title: str) -> None:
    """Enable live predictions in the project; set the version that uncertainty sampling uses."""
    with explained(label_studio_url):
        project = client.projects.get(id=project_id)
        # Tasks are predicted when they are opened; "evaluate_predictions_automatically" would have Label
        # Studio wait for predictions of a whole page at each listing of tasks, this backend's included
        wanted: dict[str, Any] = {"show_collab_predictions": True}
        if not project.model_version or is_version_name(project.model_version):
            wanted["model_version"] = title
        if any(getattr(project, name) != value for name, value in wanted.items()):
            client.projects.update(id=project_id, **wanted)


def _set_up_webhook(
    client: Any,
    label_studio_url: str,
    project_id: int,
    backend_url: str,
    login: Login | None,
    former_urls: list[str],
) -> None:
    """Upsert one active webhook with all actions, payload and header; delete those at former addresses."""
    from label_studio_sdk.core.api_error import ApiError

    address, former_addresses = webhook_address(backend_url), {webhook_address(url) for url in former_urls}
    headers = {"Authorization": _basic(login)} if login else {}
    wanted = {"send_payload": True, "send_for_all_actions": True, "is_active": True}
    with explained(label_studio_url):
        hooks = client.webhooks.list(project=project_id)
        own_hooks = sorted((hook for hook in hooks if hook.url == address), key=lambda hook: int(hook.id))
        for hook in own_hooks[1:] + [hook for hook in hooks if hook.url in former_addresses - {address}]:
            client.webhooks.delete(id=hook.id)
        if not own_hooks:
            try:
                create_one(
                    lambda: client.webhooks.create(
                        url=address, project=project_id, headers=headers, request_options=ONCE, **wanted
                    ),
                    lambda: [
                        hook for hook in client.webhooks.list(project=project_id) if hook.url == address
                    ],
                    lambda number: client.webhooks.delete(id=number),
                )
            except ApiError as error:
                raise _webhook_error(address) from error
            return
        other_headers = {
            name: value for name, value in (own_hooks[0].headers or {}).items() if name != "Authorization"
        }
        new_headers = {**other_headers, **headers}
        if own_hooks[0].headers != new_headers or any(
            getattr(own_hooks[0], name) != v for name, v in wanted.items()
        ):
            client.webhooks.update(id=own_hooks[0].id, url=address, headers=new_headers, **wanted)


def _basic(login: Login) -> str:
    return "Basic " + base64.b64encode(":".join(login).encode()).decode()
