"""The part of Label Studio's HTTP API that the backend uses; 404 to everything else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, JSONResponse, Response

from benchmarks.simulated_label_studio.rows import Json

if TYPE_CHECKING:
    from benchmarks.simulated_label_studio.studio import SimulatedLabelStudio


def application(studio: SimulatedLabelStudio) -> FastAPI:
    """Comparing and refreshing, connecting, and sounds; refused without the token, but for health."""

    def signed_in(request: Request) -> None:
        if request.headers.get("authorization") != f"Token {studio.token}":
            raise HTTPException(401, "Invalid token.")

    app = FastAPI(openapi_url=None)
    for router in (_content(studio), _connections(studio)):
        app.include_router(router, dependencies=[Depends(signed_in)])

    @app.get("/health")
    def health() -> Json:
        return {"status": "UP"}

    @app.exception_handler(KeyError)
    def missing(_request: Request, error: KeyError) -> JSONResponse:
        return JSONResponse({"detail": f"Not there, or not simulated: {error}"}, 404)

    return app


def _content(studio: SimulatedLabelStudio) -> APIRouter:
    router, rows = APIRouter(), studio.rows

    @router.get("/data/upload/{project}/{name}")
    def upload(project: int, name: str) -> Response:
        path = studio.uploads / Path(name).name
        return FileResponse(path) if path.is_file() else Response(status_code=500)  # as recorded

    @router.get("/api/projects/")
    def projects(title: str = "", page: int = 1) -> Json:
        if page > 1:
            raise HTTPException(404, "Invalid page.")
        with rows.lock:
            all_projects = [rows.project(number) for number in rows.projects]
        listed = [row for row in all_projects if title.lower() in row["title"].lower()]
        return {"count": len(listed), "next": None, "previous": None, "results": listed}

    @router.get("/api/projects/{number}/")
    def project(number: int) -> Json:
        with rows.lock:
            return rows.project(number)

    @router.patch("/api/projects/{number}/")
    def change_project(number: int, fields: Json) -> Json:
        return studio.change_project(number, fields)

    @router.get("/api/tasks/")
    def tasks(project: int, query: str, page: int, page_size: int) -> Json:
        selection = json.loads(query)
        with rows.lock:
            listed = rows.listed_tasks(project, selection["filters"]["items"], selection["ordering"][0])
        shown = listed[(page - 1) * page_size : page * page_size]
        if page > 1 and not shown:
            raise HTTPException(404, "Invalid page.")
        return {"total": len(listed), "tasks": shown}

    @router.get("/api/annotations/{number}/")
    def annotation(number: int) -> Json:
        with rows.lock:
            return dict(rows.annotations[number])

    @router.post("/api/projects/{number}/import/predictions", status_code=201)
    def import_predictions(number: int, predictions: list[Json]) -> Json:
        with rows.lock:
            accepted = [item for item in predictions if item["task"] in rows.tasks]
            for item in accepted:
                rows.add_prediction(item["task"], item["result"], item["score"], item["model_version"])
        return {"created": len(accepted)}

    @router.get("/api/predictions/")
    def predictions(task: int) -> list[Json]:
        with rows.lock:
            return [dict(row) for row in rows.predictions.where("task", task)]

    @router.patch("/api/predictions/{number}/")
    def change_prediction(number: int, fields: Json) -> Json:
        with rows.lock:
            rows.predictions[number].update(fields)
            return dict(rows.predictions[number])

    @router.get("/api/projects/{number}/model-versions/")
    def model_versions(number: int) -> Json:
        with rows.lock:
            names = [row["model_version"] for row in rows.predictions.where("project", number)]
        return {name: names.count(name) for name in names}

    @router.delete("/api/projects/{number}/model-versions/")
    def delete_model_version(number: int, fields: Json) -> Json:
        with rows.lock:
            for row in rows.predictions.where("project", number):
                if row["model_version"] == fields["model_version"]:
                    rows.predictions.remove(row["id"])
        return {}

    @router.delete("/api/predictions/{number}/", status_code=204)
    def delete_prediction(number: int) -> None:
        with rows.lock:
            rows.predictions.remove(number)

    return router


def _connections(studio: SimulatedLabelStudio) -> APIRouter:
    router, rows = APIRouter(), studio.rows

    @router.get("/api/ml/")
    def backends(project: int) -> list[Json]:
        with rows.lock:
            connected = rows.backends.where("project", project)
        return [studio.look_at(backend["id"]) for backend in connected]

    @router.post("/api/ml/", status_code=201)
    def connect(fields: Json) -> Json:
        return _reached(studio.connect(fields))

    @router.get("/api/ml/{number}")
    def backend(number: int) -> Json:
        return studio.look_at(number)

    @router.patch("/api/ml/{number}")
    def change_backend(number: int, fields: Json) -> Json:
        if not {"url", "project"} <= fields.keys():
            raise HTTPException(500, "A change without url and project.")  # as recorded
        return _reached(studio.change_backend(number, fields))

    @router.delete("/api/ml/{number}", status_code=204)
    def disconnect(number: int) -> None:
        with rows.lock:
            rows.backends.remove(number)

    @router.get("/api/webhooks/")
    def webhooks(project: int) -> list[Json]:
        with rows.lock:
            return [dict(row) for row in rows.webhooks.where("project", project)]

    @router.patch("/api/webhooks/{number}/")
    def change_webhook(number: int, fields: Json) -> Json:
        with rows.lock:
            rows.webhooks[number].update(fields)
            return dict(rows.webhooks[number])

    return router


def _reached(backend: Json | None) -> Json:
    if backend is None:
        raise HTTPException(400, "Can't connect to ML backend, health check failed.")
    return backend
