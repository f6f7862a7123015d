"""The application object, under the name that Label Studio's tooling looks for.

``app`` can be given to any process manager: it answers as ASGI 3 (uvicorn, hypercorn), as ASGI 2,
and as WSGI (gunicorn, mod_wsgi). Run as a script, as ``label-studio-ml start .`` does, this file
brings up the whole backend: private Redis, worker and API.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi import FastAPI

ENVIRONMENT = Path(__file__).resolve().parent / ".venv"
"""What ``make setup`` makes."""


class Application:
    """One application for every kind of server; it is built on the first request.

    Building late keeps an import free of side effects and lets a server fork first.
    """

    @functools.cached_property
    def asgi(self) -> FastAPI:
        """The ASGI application."""
        from earmark.api.app import create_app
        from earmark.settings import get_settings

        return create_app(get_settings())

    @functools.cached_property
    def _wsgi(self) -> Any:
        from a2wsgi import ASGIMiddleware

        return ASGIMiddleware(self.asgi)  # type: ignore[arg-type]

    def __call__(self, scope: Any, *rest: Any) -> Any:
        """Answer a call in the protocol that its arguments show."""
        if len(rest) == 1:  # WSGI: environ, start_response
            return self._wsgi(scope, *rest)
        if len(rest) == 2:  # ASGI 3: scope, receive, send
            return self.asgi(scope, *rest)
        return functools.partial(self.asgi, scope)  # ASGI 2: receive and send come with a second call


app = Application()


def use_own_environment() -> None:
    """Go on with the Python of ``.venv`` where this one lacks what is needed, as the one in PATH may.

    Ends with exit code 2 and the reason where there is no such environment.
    """
    if importlib.util.find_spec("a2wsgi") and importlib.util.find_spec("fastapi"):
        return
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists() or Path(sys.prefix).resolve() == ENVIRONMENT.resolve():
        print(
            f"✗ {sys.executable} lacks the packages of requirements.txt: run 'make setup' in "
            f"{ENVIRONMENT.parent}, then {python} {Path(__file__).name}.",
            file=sys.stderr,
        )
        sys.exit(2)
    os.execv(python, [str(python), *sys.argv])


def main() -> None:
    """Serve, with the options that ``label-studio-ml start`` hands on."""
    parser = argparse.ArgumentParser(description="Earmark: Label Studio ML backend for sound")
    parser.add_argument("-p", "--port", type=int, help="port of the API (default: PORT, or 9090)")
    parser.add_argument("--host", help="address to listen on (default: BIND, or 127.0.0.1)")
    parser.add_argument("--log-level", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    parser.add_argument("-d", "--debug", action="store_true", help="the same as --log-level DEBUG")
    arguments = parser.parse_args()
    level = "DEBUG" if arguments.debug else arguments.log_level
    for name, value in (("PORT", arguments.port), ("BIND", arguments.host), ("LOG_LEVEL", level)):
        if value is not None:
            os.environ[name] = str(value)

    from earmark.cli import app as command_line
    from earmark.cli import run_explained

    run_explained(functools.partial(command_line, ["up"]))


if __name__ == "__main__":
    use_own_environment()
    main()
