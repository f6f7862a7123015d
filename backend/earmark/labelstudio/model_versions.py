"""Model versions of a project's predictions in Label Studio: list them, and bulk-delete one's predictions.

The SDK does not support this endpoint.
"""

from __future__ import annotations

import httpx

from earmark.audio.source import LabelStudioAccess
from earmark.errors import LabelStudioError
from earmark.tls import tls_context

REQUEST_TIMEOUT_SECONDS = 60.0


def list_model_versions(access: LabelStudioAccess, project_id: int) -> list[str]:
    """Return the model versions of a project's predictions.

    Raises
    ------
    LabelStudioError
        Label Studio refuses or cannot be reached.
    """
    try:
        counts = _request(access, "GET", project_id).json()
    except ValueError:
        counts = None
    if not isinstance(counts, dict):
        raise LabelStudioError(f"Label Studio at {access.url} did not answer with model versions.")
    return list(counts)


def delete_model_version(access: LabelStudioAccess, project_id: int, name: str) -> None:
    """Delete all predictions of a model version in a project.

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
            method,
            address,
            headers=access.headers(),
            json=body,
            timeout=REQUEST_TIMEOUT_SECONDS,
            verify=tls_context(),
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
