"""Connecting a backend to a project, and making sure that it is connected indeed."""

from __future__ import annotations

from typing import Any

from backend.errors import LabelStudioError
from backend.labelstudio.client import explained


def connect_backend(client: Any, label_studio_url: str, project_id: int, backend_url: str, title: str) -> int:
    """Connect the backend to a project, or find it connected, and check its webhook.

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

    Returns
    -------
    The backend's id in Label Studio.

    Raises
    ------
    LabelStudioError
        Label Studio refuses the address, cannot reach it, or has not registered the webhook.
    """
    with explained(label_studio_url):
        known = [backend for backend in client.ml.list(project=project_id) if backend.url == backend_url]
        backend = known[0] if known else client.ml.create(url=backend_url, project=project_id, title=title)
        if known and backend.title != title:
            client.ml.update(id=backend.id, url=backend_url, project=project_id, title=title)
        state = client.ml.get(id=backend.id)
    if state.state not in ("CO", "TR", "PR"):
        raise LabelStudioError(
            f"Label Studio at {label_studio_url} cannot reach the backend at {backend_url} "
            f"({state.readable_state}: {state.error_message or 'no reason given'}): use an address that is "
            "valid on Label Studio's machine, not localhost when it runs in Docker."
        )
    check_webhook(client, label_studio_url, project_id, backend_url)
    return int(backend.id)


def check_webhook(client: Any, label_studio_url: str, project_id: int, backend_url: str) -> None:
    """Make sure that annotations of the project will be sent to the backend.

    Label Studio with only one of its two SSRF switches off shows a backend as connected and
    silently leaves its webhook out, so that nothing would ever be learnt.

    Raises
    ------
    LabelStudioError
        There is no active webhook for the backend.
    """
    address = f"{backend_url.rstrip('/')}/webhook"
    with explained(label_studio_url):
        webhooks = client.webhooks.list(project=project_id)
    if not any(hook.url == address and hook.is_active for hook in webhooks):
        raise LabelStudioError(
            f"The backend is connected, but Label Studio has not registered its webhook {address}: nothing "
            "would be learnt. Start Label Studio with LABEL_STUDIO_ML_BLOCK_LOCAL_IP=false and "
            "LABEL_STUDIO_SSRF_PROTECTION_ENABLED=false, then connect again."
        )
