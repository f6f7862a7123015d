"""Check that Label Studio answers at an address, in bounded time, before anything else is requested there."""

from __future__ import annotations

import httpx

from earmark.audio.addresses import shown
from earmark.errors import LabelStudioError
from earmark.tls import tls_context

ANSWER_SECONDS = 5.0


def check_label_studio(url: str) -> None:
    """Request Label Studio's health check.

    The requests that follow may take a minute on a busy Label Studio; one that does not run, or another
    server at its address, is recognised here within seconds.

    Raises
    ------
    LabelStudioError
        Nothing answers in time, or what answers is not Label Studio.
    """
    try:
        answer = httpx.get(f"{url.rstrip('/')}/health", timeout=ANSWER_SECONDS, verify=tls_context())
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = str(error) or type(error).__name__
        hint = " Inside Docker, localhost is the container: use the service's name." * ("localhost" in url)
        raise LabelStudioError(
            f"Label Studio at {shown(url)} cannot be reached ({reason}): check LABEL_STUDIO_URL and that it "
            f"runs.{hint}"
        ) from error
    if answer.has_redirect_location:
        raise LabelStudioError(
            f"{shown(url)} leads to {shown(answer.headers['location'])}: set LABEL_STUDIO_URL to the address "
            "that is shown in the browser."
        )
    try:
        is_label_studio = answer.is_success and isinstance(answer.json(), dict)
    except ValueError:
        is_label_studio = False
    if not is_label_studio:
        kind = answer.headers.get("content-type", "").partition(";")[0] or "no content"
        raise LabelStudioError(
            f"What answers at {shown(url)} is not Label Studio, or is not well (HTTP {answer.status_code}, "
            f"{kind}): check LABEL_STUDIO_URL, and Label Studio's log."
        )
