"""Structured logs on standard error: coloured lines for people, JSON for machines.

One id leads from a webhook to the version that learnt from it: the line "webhook stored" has the
number of the event beside the request's id, and "training ended" the numbers of the events that it
answers beside the version.
"""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog


def configure_logging(level: str, form: Literal["auto", "json", "pretty"] = "auto") -> None:
    """Set up structlog once for a process.

    Parameters
    ----------
    form
        ``auto`` is pretty where standard error is a terminal, else JSON, one object a line.
    """
    pretty = sys.stderr.isatty() if form == "auto" else form == "pretty"
    rendering: list[structlog.typing.Processor] = (
        # Its own tracebacks show the values of variables, secrets among them.
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if pretty
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *rendering,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        # Looked up for each line: standard error may be redirected after this.
        logger_factory=lambda *_: structlog.WriteLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )
