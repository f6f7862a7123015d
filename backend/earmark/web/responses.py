"""Responses of the pages: HTML with headers that let it load nothing but our own files."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from fastapi import HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from earmark import __version__
from earmark.pages.environment import render

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "media-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
PAGE_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # without any, browsers would send no Origin with our own forms
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
FILE_HEADERS = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; sandbox"}
"""Of sounds and pictures, which come from tasks: opened by themselves, they run nothing."""


def page(request: Request, template: str, status: int = 200, **values: object) -> HTMLResponse:
    """Render a page. Links in it are relative to ``root``, so that it works behind a path prefix, too."""
    depth = request.url.path.removeprefix(request.scope.get("root_path", "")).count("/") - 1
    root = "../" * depth or "./"
    html = render(template, root=root, version=__version__, **values)
    return HTMLResponse(html, status, PAGE_HEADERS)


def refusal(
    request: Request, status: int, detail: str, reason: str = "", headers: Mapping[str, str] | None = None
) -> Response:
    """Answer a request that failed with its sentence: on a page where a browser shows it, else as JSON.

    ``reason``: the kind of error, for programs.
    """
    if "text/html" in request.headers.get("accept", ""):
        answer: Response = page(
            request, "message.html", status, key="", project="", title="Not possible", text=detail
        )
        answer.headers.update(headers or {})
        return answer
    content = {"detail": detail, "reason": reason} if reason else {"detail": detail}
    return JSONResponse(content, status, headers)


def refuse_other_origins(request: Request) -> None:
    """Refuse a form that another site sent with this browser's password (cross-site request forgery).

    Browsers say where a form comes from: in Sec-Fetch-Site on encrypted connections and loopback, and in
    Origin everywhere.

    Raises
    ------
    HTTPException
        403, where neither header says that it comes from here.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        if site == "same-origin":
            return
    elif urlsplit(request.headers.get("origin", "")).netloc == request.headers.get("host", "-"):
        return
    raise HTTPException(
        403,
        "This form did not come from Earmark's own page: open the page and press the button there, or use "
        "'earmark promote' and 'earmark rollback'.",
    )
