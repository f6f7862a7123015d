"""Object storage (S3, Google Cloud Storage, Azure Blob Storage) as fsspec file systems."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from typing import Any, TypeVar

from earmark.errors import BucketError, BucketTimeoutError, EarmarkError
from earmark.extras import require_extra

BUCKETS = {"s3": "s3fs", "gs": "gcsfs", "azure-blob": "adlfs"}
"""URL schemes of buckets, and the library that fsspec needs for each."""
_PROTOCOLS = {"azure-blob": "abfs"}
"""Where fsspec has another name for it than Label Studio."""
CONNECT_SECONDS, ANSWER_SECONDS = 3, 10
"""Timeouts with ``fail_fast``."""

_Result = TypeVar("_Result")


def bucket_files(scheme: str, fail_fast: bool = False) -> Any:
    """The fsspec file system of a URL scheme, with the credentials that its own library finds.

    Parameters
    ----------
    fail_fast
        Whether to use short timeouts and, where the library lets us, no retries, for callers that can do
        without the bucket; they limit the time of each call by `in_time`.

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
        if fail_fast:
            options |= {"connection_timeout": CONNECT_SECONDS, "read_timeout": ANSWER_SECONDS}
    if scheme == "gs" and fail_fast:
        from aiohttp import ClientTimeout

        options["requests_timeout"] = ClientTimeout(sock_connect=CONNECT_SECONDS, sock_read=ANSWER_SECONDS)
    files = fsspec.filesystem(_PROTOCOLS.get(scheme, scheme), **options)
    if fail_fast:
        files.retries = 1
    return files


def in_time(work: Callable[[], _Result], seconds: float) -> _Result:
    """Return what a call of a bucket library returns, made in a thread that is left behind when it is late.

    Libraries for Google's and Azure's storage repeat each request for minutes.

    Raises
    ------
    BucketTimeoutError
        It has not returned after this time.
    """
    future: Future[_Result] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except Exception as error:  # noqa: BLE001 raised again in the caller's thread
            future.set_exception(error)

    threading.Thread(target=run, name="bucket", daemon=True).start()
    if not wait([future], seconds).done:
        raise BucketTimeoutError(f"The bucket has not answered within {seconds:g} s: check the connection.")
    return future.result()


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
