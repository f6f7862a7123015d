"""Stand-in for the server and the base class of label-studio-ml's 2.x line, which PyPI does not have.

Written from its documented behaviour: a model is made for each request, from the project's number and the
label config; ``fit`` runs inside the webhook's request; what the model returns is written as Python's JSON,
NaN included; and what it raises becomes HTTP 500.
"""

from __future__ import annotations

import json
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

TRAIN_EVENTS = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATION_DELETED", "START_TRAINING")


class LabelStudioMLBase:
    """Base class: a store of texts for each project, out of which label config and version are read."""

    INITIAL_MODEL_VERSION = "0.0.1"
    _texts: dict[tuple[str, str], str] = {}  # noqa: RUF012

    def __init__(self, project_id: str | None = None, label_config: str | None = None) -> None:
        self.project_id = project_id or ""
        if label_config is not None:
            self.set("label_config", label_config)
        if not self.model_version:
            self.set("model_version", self.INITIAL_MODEL_VERSION)
        self.setup()

    def setup(self) -> None:
        """For subclasses to override."""

    def get(self, key: str) -> str | None:
        return self._texts.get((self.project_id, key))

    def set(self, key: str, value: str) -> None:
        self._texts[self.project_id, key] = value

    @property
    def label_config(self) -> str | None:
        return self.get("label_config")

    @property
    def model_version(self) -> str | None:
        return self.get("model_version")

    def predict(self, tasks: list[dict[str, Any]], context: Any = None, **kwargs: Any) -> Any:
        """For subclasses to override."""

    def fit(self, event: str, data: dict[str, Any], **kwargs: Any) -> Any:
        """For subclasses to override."""


def init_app(model_class: type[LabelStudioMLBase]) -> Starlette:
    """The application with the routes that Label Studio calls."""

    async def predict(request: Request) -> Response:
        body = await request.json()
        params = body.get("params") or {}
        context = params.pop("context", {})
        model = model_class(str(body.get("project")).split(".", 1)[0], body.get("label_config"))
        return _answer({"results": model.predict(body["tasks"], context=context, **params) or []})

    async def setup(request: Request) -> Response:
        body = await request.json()
        model = model_class(body["project"].split(".", 1)[0], body.get("schema"))
        return _answer({"model_version": model.get("model_version")})

    async def webhook(request: Request) -> Response:
        body = await request.json()
        event = body.pop("action")
        if event not in TRAIN_EVENTS:
            return _answer({"status": "Unknown event"})
        project = body["project"]
        model = model_class(str(project["id"]), project["label_config"])
        return _answer({"result": model.fit(event, body), "status": "ok"}, 201)

    async def health(_request: Request) -> Response:
        return _answer({"status": "UP", "model_class": model_class.__name__})

    return Starlette(
        routes=[
            Route("/predict", predict, methods=["POST"]),
            Route("/setup", setup, methods=["POST"]),
            Route("/webhook", webhook, methods=["POST"]),
            Route("/health", health),
        ]
    )


def _answer(value: object, status: int = 200) -> Response:
    return Response(json.dumps(value), status, media_type="application/json")
