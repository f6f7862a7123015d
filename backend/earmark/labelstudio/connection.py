"""Connecting a backend to a project, and making sure that it is connected indeed.

Each function brings Label Studio to a state, whatever state it is in: run twice, the second run
changes nothing; run after a change of address or password, it repairs what is there.
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
"""User name and password that the backend asks for."""
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
        Name shown in Label Studio. Equal to the version that answers, it makes uncertainty
        sampling and live predictions both work.
    login
        What the backend asks for; None where it asks for nothing.
    say
        Gets one line for each step that is done.

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
        known = list(client.ml.list(project=project_id))
    # A backend in Label Studio that is named like a version of ours is ours.
    mine = sorted(
        (b for b in known if b.url.rstrip("/") == backend_url or is_version_name(b.title or "")),
        key=lambda backend: (backend.url.rstrip("/") != backend_url, backend.id),
    )
    left = [backend.url for backend in mine if backend.url.rstrip("/") != backend_url]
    number = _bring_up(client, label_studio_url, project_id, backend_url, title, login, mine)
    say(f"Label Studio reaches {backend_url}" + (" and signs in" if login else ""))
    _set_up_project(client, label_studio_url, project_id, title)
    say("predictions are fetched whenever a task is opened, and shown")
    _set_up_webhook(client, label_studio_url, project_id, backend_url, login, left)
    check_webhook(client, label_studio_url, project_id, backend_url, login)
    say("every annotation will be sent here" + (", with the password" if login else ""))
    return number


def check_webhook(
    client: Any, label_studio_url: str, project_id: int, backend_url: str, login: Login | None = None
) -> None:
    """Make sure that annotations of the project will be sent to the backend, and let in there.

    Label Studio with only one of its two SSRF switches off shows a backend as connected and
    silently leaves its webhook out, so that nothing would ever be learnt. Nor does a webhook show the
    user and password that its backend was connected with.

    Raises
    ------
    LabelStudioError
        There is no active webhook for the backend, or it shows no or another password.
    """
    address = webhook_address(backend_url)
    with explained(label_studio_url):
        webhooks = client.webhooks.list(project=project_id)
    found = [hook for hook in webhooks if hook.url == address and hook.is_active]
    if not found:
        raise _not_registered(address)
    if login and not any((hook.headers or {}).get("Authorization") == _basic(login) for hook in found):
        raise LabelStudioError(
            f"Label Studio's webhook {address} does not show the password that the backend asks for: nothing "
            f"would be learnt. Run 'earmark connect {project_id}'."
        )


def webhook_address(backend_url: str) -> str:
    """Where Label Studio sends the webhooks of a backend."""
    return f"{backend_url.rstrip('/')}/webhook"


def _bring_up(
    client: Any,
    label_studio_url: str,
    project_id: int,
    backend_url: str,
    title: str,
    login: Login | None,
    mine: list[Any],
) -> int:
    """Make the backend, or change the first of ours, and remove the others; Label Studio tries it."""
    # Without a password none is sent along: an empty one is refused.
    how = (
        {"auth_method": "BASIC_AUTH", "basic_auth_user": login[0], "basic_auth_pass": login[1]}
        if login
        else {"auth_method": "NONE", "basic_auth_user": ""}
    )
    fields = {"url": backend_url, "project": project_id, "title": title, "is_interactive": True, **how}
    try:
        with explained(label_studio_url):
            if mine:
                client.ml.update(id=mine[0].id, **fields)
                number = int(mine[0].id)
            else:
                number = _created(client, fields)
            state = client.ml.get(id=number)
    except LabelStudioError as error:
        raise _refused(str(error), label_studio_url, backend_url) or error from error
    if state.state not in _CONNECTED:
        reason = f"{state.readable_state}: {state.error_message or 'no reason given'}"
        raise _refused(reason, label_studio_url, backend_url) or LabelStudioError(
            f"Label Studio at {label_studio_url} cannot reach the backend at {backend_url} ({reason}): use "
            "an address that is valid on Label Studio's machine, not localhost when it runs in Docker."
        )
    with explained(label_studio_url):
        for other in mine[1:]:
            client.ml.delete(id=other.id)
    return number


def _created(client: Any, fields: dict[str, Any]) -> int:
    """Make the backend, and leave one: Label Studio saves it before all is done, and may begin again."""
    from label_studio_sdk.core.api_error import ApiError

    number = failure = None
    try:
        number = int(client.ml.create(**fields, request_options=ONCE).id)
    except (ApiError, httpx.HTTPError) as error:
        failure = error
    known = client.ml.list(project=fields["project"])
    saved = [backend.id for backend in known if backend.url.rstrip("/") == fields["url"]]
    if failure and not saved:
        raise failure
    number = number or int(saved[0])
    repeated = [other for other in saved if other != number]
    for other in repeated:
        client.ml.delete(id=other)
    if failure or repeated:
        # The one that is left may be half set up; and deleting one takes its title from the project
        client.ml.update(id=number, **fields)
    return number


def _refused(reason: str, label_studio_url: str, backend_url: str) -> LabelStudioError | None:
    """What to do where the backend answered Label Studio with 401; None for every other reason."""
    if "401 Client Error" not in reason:
        return None
    return LabelStudioError(
        f"The backend at {backend_url} refuses the user and password that Label Studio at {label_studio_url} "
        "shows: API_USER and API_PASSWORD must be the same here and where the backend runs."
    )


def _not_registered(address: str) -> LabelStudioError:
    return LabelStudioError(
        f"The backend is connected, but Label Studio has not registered its webhook {address}: nothing "
        "would be learnt. Start Label Studio with LABEL_STUDIO_ML_BLOCK_LOCAL_IP=false and "
        "LABEL_STUDIO_SSRF_PROTECTION_ENABLED=false, then connect again."
    )


def _set_up_project(client: Any, label_studio_url: str, project_id: int, title: str) -> None:
    """Have predictions fetched and shown; name the version that uncertainty sampling goes by."""
    with explained(label_studio_url):
        project = client.projects.get(id=project_id)
        # Tasks are predicted when they are opened; "evaluate_predictions_automatically" would have Label
        # Studio wait for predictions of a whole page whenever anybody lists tasks, this backend included
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
    left: list[str],
) -> None:
    """One active webhook with all actions, the payload and the right header; none at addresses left."""
    from label_studio_sdk.core.api_error import ApiError

    address, former = webhook_address(backend_url), {webhook_address(url) for url in left}
    headers = {"Authorization": _basic(login)} if login else {}
    wanted = {"send_payload": True, "send_for_all_actions": True, "is_active": True}
    with explained(label_studio_url):
        hooks = client.webhooks.list(project=project_id)
        mine = sorted((hook for hook in hooks if hook.url == address), key=lambda hook: int(hook.id))
        for hook in mine[1:] + [hook for hook in hooks if hook.url in former - {address}]:
            client.webhooks.delete(id=hook.id)
        if not mine:
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
                raise _not_registered(address) from error
            return
        kept = {name: value for name, value in (mine[0].headers or {}).items() if name != "Authorization"}
        changed = {**kept, **headers}
        if mine[0].headers != changed or any(getattr(mine[0], name) != v for name, v in wanted.items()):
            client.webhooks.update(id=mine[0].id, url=address, headers=changed, **wanted)


def _basic(login: Login) -> str:
    return "Basic " + base64.b64encode(":".join(login).encode()).decode()
