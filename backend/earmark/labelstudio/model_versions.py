"""Model versions of a project's predictions, as Label Studio counts them, and their deletion in bulk.

The SDK has no call for this address.
"""

from __future__ import annotations

import httpx

from earmark.audio.source import LabelStudioAccess
from earmark.errors import LabelStudioError

REQUEST_TIMEOUT_SECONDS = 60.0


def list_model_versions(access: LabelStudioAccess, project_id: int) -> list[str]:
    """Return the names under which a project holds predictions.

    Raises
    ------
    LabelStudioError
        Label Studio refuses or cannot be reached.
    """
    try:
        found = _request(access, "GET", project_id).json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise LabelStudioError(f"Label Studio at {access.url} did not answer with model versions.")
    return list(found)


def delete_model_version(access: LabelStudioAccess, project_id: int, name: str) -> None:
    """Delete all predictions that a project holds under a name.

    Raises
    ------
    LabelStudioError
        As above.
    """
    _request(access, "DELETE", project_id, {"model_version": name})


def _request(
    access: LabelStudioAccess, method: str, project_id: int, body: dict[str, str] | None = None
) -> httpx.Response:
    address = f"{access.url.rstrip('/')}/api/projects/{project_id}/model-versions/"
    try:
        answer = httpx.request(
            method, address, headers=access.headers(), json=body, timeout=REQUEST_TIMEOUT_SECONDS
        )
    except httpx.HTTPError as error:
        raise LabelStudioError(
            f"Label Studio at {access.url} cannot be reached ({error}): check LABEL_STUDIO_URL."
        ) from error
    if answer.status_code != httpx.codes.OK:
        raise LabelStudioError(
            f"Label Studio at {access.url} answered HTTP {answer.status_code} to {method} model-versions: "
            "its log says why."
        )
    return answer
