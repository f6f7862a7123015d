"""Label Studio SDK client, and translation of its exceptions into ``LabelStudioError``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx
from pydantic import ValidationError

from earmark.audio.addresses import shown
from earmark.errors import LabelStudioError
from earmark.labelstudio.credentials import address_and_token
from earmark.settings import Settings
from earmark.store.models import Project

REQUEST_TIMEOUT_SECONDS = 60.0


def client_for(settings: Settings, project: Project | None = None) -> Any:
    """Return an SDK client (``label_studio_sdk.LabelStudio``) without sending a request.

    Address and token are those of ``address_and_token``.

    Raises
    ------
    LabelStudioError
        The address or the token is not known.
    """
    url, key = address_and_token(settings, project)
    if not (url and key):
        raise LabelStudioError(
            "No Label Studio is known: set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY "
            "(Account & Settings, Access Token)."
        )
    from label_studio_sdk import LabelStudio

    with explained(url):  # the SDK checks at once whether the token has expired
        return LabelStudio(base_url=url, api_key=key, timeout=REQUEST_TIMEOUT_SECONDS)


def _readable(body: object) -> str:
    """Return what Label Studio says in the body of an error: its messages, not the JSON around them."""
    if isinstance(body, Mapping):
        faults = body.get("validation_errors") or {}
        lists = faults.values() if isinstance(faults, Mapping) else [faults]
        messages = [str(text) for texts in lists for text in (texts if isinstance(texts, list) else [texts])]
        body = " ".join(messages) or body.get("detail") or body
    if str(body).lstrip().startswith("<"):
        return "a web page"
    return " ".join(re.sub(r"</?[a-z][^>]*>", "", str(body)).split())[:300]


@contextmanager
def explained(url: str | None) -> Iterator[None]:
    """Turn the SDK's and the network's exceptions into ``LabelStudioError``."""
    from label_studio_sdk.core.api_error import ApiError

    name = shown(url or "")
    try:
        yield
    except ApiError as error:
        if error.status_code in (401, 403):
            raise LabelStudioError(
                f"Label Studio at {name} refuses the token (HTTP {error.status_code}): make one under "
                "Account & Settings and set LABEL_STUDIO_API_KEY."
            ) from error
        body = _readable(error.body)
        raise LabelStudioError(f"Label Studio at {name} answered HTTP {error.status_code}: {body}") from error
    except ValidationError as error:
        raise LabelStudioError(
            f"What answers at {name} does not answer as Label Studio does ({error.error_count()} values are "
            "missing or of another kind): check LABEL_STUDIO_URL."
        ) from error
    except httpx.HTTPError as error:
        raise LabelStudioError(
            f"Label Studio at {name} cannot be reached ({error}): check LABEL_STUDIO_URL and that it runs."
        ) from error
