"""The page of a project as one self-contained file: no links to files beside it, nothing live."""

from __future__ import annotations

import base64
from collections.abc import Iterable

import structlog

from earmark import __version__
from earmark.errors import EarmarkError
from earmark.pages.environment import render
from earmark.services import Services
from earmark.web.media import WIDTHS, Media
from earmark.web.project_page import Pages
from earmark.web.rows import Row

log = structlog.get_logger(__name__)


def project_report(services: Services, key: str) -> str:
    """Return the page of a project that has connected, as HTML with styles, script and pictures in it."""
    values = Pages(services).project(key, {})
    assert values is not None
    rows = [*values["corrections"], *(row for filled in values["lists"] for row in filled.rows)]
    return render(
        "report.html", version=__version__, pictures=_pictures(Media(services), key, rows), **values
    )


def _pictures(media: Media, key: str, rows: Iterable[Row]) -> dict[str, str]:
    """Return the spectrogram of each row as a ``data:`` URL; sounds that cannot be had have none."""
    pictures = {}
    for row in rows:
        if row.task is None or not row.has_sound:
            continue
        try:
            located, name = media.locate(key, row.task)
            png = media.picture(located, name, row.stretch.start, row.stretch.end, WIDTHS[0])
        except EarmarkError as error:
            log.warning("spectrogram left out of the report", task=row.task, detail=str(error))
            continue
        pictures[row.id] = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    return pictures
