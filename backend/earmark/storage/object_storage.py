"""Object storage (S3, Google Cloud Storage, Azure Blob Storage) as fsspec file systems."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from earmark.errors import BucketError, EarmarkError
from earmark.extras import require_extra

BUCKETS = {"s3": "s3fs", "gs": "gcsfs", "azure-blob": "adlfs"}
"""URL schemes of buckets, and the library that fsspec needs for each."""
_PROTOCOLS = {"azure-blob": "abfs"}
"""Where fsspec has another name for it than Label Studio."""
CONNECT_SECONDS, ANSWER_SECONDS = 3, 10
"""Timeouts with ``fail_fast``."""


def bucket_files(scheme: str, fail_fast: bool = False) -> Any:
    """The fsspec file system of a URL scheme, with the credentials that its own library finds.

    Parameters
    ----------
    fail_fast
        Whether to use short timeouts and no retries, for callers that can do without the bucket.

    Raises
    ------
    MissingExtraError
        The library for this kind of bucket is missing.
    """
    require_extra(BUCKETS[scheme], f"{scheme}://")
    import fsspec

    options: dict[str, Any] = {}
    if scheme == "s3":
        if endpoint := os.environ.get("AWS_ENDPOINT_URL"):
            options["endpoint_url"] = endpoint
        if fail_fast:
            limits = {"connect_timeout": CONNECT_SECONDS, "read_timeout": ANSWER_SECONDS}
            options["config_kwargs"] = {**limits, "retries": {"max_attempts": 0}}
    if scheme == "azure-blob":  # Label Studio's own variables; the library reads AZURE_STORAGE_… itself
        for option in ("account_name", "account_key"):
            if value := os.environ.get(f"AZURE_BLOB_{option.upper()}"):
                options[option] = value
    files = fsspec.filesystem(_PROTOCOLS.get(scheme, scheme), **options)
    if fail_fast:
        files.retries = 1
    return files


def bucket_path(address: str) -> str:
    """Return bucket and path of an address, as all file systems take them."""
    return address.partition("://")[2]


@contextmanager
def bucket_faults(place: str) -> Iterator[None]:
    """Convert errors of bucket libraries to BucketError, except for missing objects.

    Raises
    ------
    FileNotFoundError
        There is no such object.
    BucketError
        The bucket refuses or cannot be reached.
    """
    try:
        yield
    except (FileNotFoundError, EarmarkError):
        raise
    except Exception as error:  # the libraries have no common base class of errors
        raise BucketError(
            f"{place} cannot be used ({type(error).__name__}: {error}): check the bucket's keys."
        ) from error
