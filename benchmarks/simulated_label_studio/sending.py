"""What Label Studio sends to an ML backend, and how long it waits for an answer."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import httpx

from benchmarks.simulated_label_studio.rows import Json

CONNECT_SECONDS = 1.0
WEBHOOK_SECONDS = 1.0
HEALTH_SECONDS = 1.0
SETUP_SECONDS = 3.0
PREDICT_SECONDS = 100.0
"""Start Training has as long, too."""


@dataclass(frozen=True)
class Notice:
    """Something that a backend is told once, and never again: a webhook, or Start Training."""

    project: int
    action: str
    url: str
    headers: dict[str, str]
    body: bytes
    timeout_seconds: float


def post(notice: Notice) -> httpx.Response | None:
    """Send a notice; None when nobody took it, or answered, in time."""
    headers = {"Content-Type": "application/json", **notice.headers}
    try:
        with _client(notice.timeout_seconds, headers) as client:
            return client.post(notice.url, content=notice.body)
    except httpx.HTTPError:
        return None


def ask(backend: Json, path: str, body: Json | None, timeout_seconds: float) -> Json | None:
    """Send a request of the ML backend API: GET without a body; None where no valid answer comes."""
    try:
        with _client(timeout_seconds, login_header(backend)) as client:
            method = "GET" if body is None else "POST"
            answer = client.request(method, f"{backend['url']}{path}", json=body)
    except httpx.HTTPError:
        return None
    return dict(answer.json()) if answer.is_success else None


def login_header(backend: Json) -> dict[str, str]:
    """What the ML backend API and Start Training show, and webhooks do not."""
    if backend["auth_method"] != "BASIC_AUTH":
        return {}
    login = f"{backend['basic_auth_user']}:{backend['basic_auth_pass']}"
    return {"Authorization": "Basic " + base64.b64encode(login.encode()).decode()}


def _client(timeout_seconds: float, headers: dict[str, str]) -> httpx.Client:
    timeout = httpx.Timeout(timeout_seconds, connect=CONNECT_SECONDS)
    # A proxy of the caller must not stand between this machine and itself
    return httpx.Client(trust_env=False, timeout=timeout, headers=headers)
