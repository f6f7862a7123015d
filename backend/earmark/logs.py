"""Structured logs on standard error: coloured lines for people, JSON for machines.

The event id links a webhook to the version trained on it: the line "webhook stored" has the id of the
event and of the request, and "training ended" the ids of the events that it handles and the version.
"""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import Literal

import structlog


class _ForgivingLogger(structlog.WriteLogger):
    """Writer of lines for which a full disk, or a closed terminal, is no reason for a request to fail."""

    def msg(self, message: str) -> None:
        """Write a line, or lose it."""
        with suppress(OSError):
            super().msg(message)

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg


def configure_logging(level: str, form: Literal["auto", "json", "pretty"] = "auto") -> None:
    """Configure structlog for a process.

    Parameters
    ----------
    form
        ``auto`` is pretty where standard error is a terminal, else JSON, one object a line.
    """
    pretty = sys.stderr.isatty() if form == "auto" else form == "pretty"
    renderers: list[structlog.typing.Processor] = (
        # The default tracebacks show the values of variables, which may be secrets.
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if pretty
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        # Looked up for each line: standard error may be redirected after this.
        logger_factory=lambda *_: _ForgivingLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )
