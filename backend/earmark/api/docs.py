"""Swagger UI at ``/docs``, from local files: the page loads nothing from another server."""

from __future__ import annotations

from importlib.resources import files

from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse

SCRIPT, STYLE, ICON = "swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"
PACKAGE = "fastapi_offline"
"""Package that contains Swagger UI's files; its code is not used."""


def docs_router(title: str) -> APIRouter:
    """Return routes for the page and its three files. URLs are relative, so a path prefix works, too."""
    router = APIRouter(include_in_schema=False)
    folder = files(PACKAGE) / "static"

    @router.get("/docs", response_class=HTMLResponse)
    def page() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="openapi.json",
            title=f"{title}: API",
            swagger_js_url=f"docs/{SCRIPT}",
            swagger_css_url=f"docs/{STYLE}",
            swagger_favicon_url=f"docs/{ICON}",
            # The validator would send the schema's URL to a public server.
            swagger_ui_parameters={"validatorUrl": None},
        )

    def serve(name: str) -> None:
        @router.get(f"/docs/{name}", response_class=FileResponse)
        def file() -> FileResponse:
            return FileResponse(str(folder / name))

    for name in (SCRIPT, STYLE, ICON):
        serve(name)
    return router
