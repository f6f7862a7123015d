"""TLS settings of HTTP clients: the trusted certificates."""

from __future__ import annotations

import ssl
from functools import cache

import httpx


@cache
def tls_context() -> ssl.SSLContext:
    """Return the TLS context of all HTTP clients of this process.

    httpx makes one for each request without a client otherwise, and reads all certificates for it, which
    takes 20 ms. `SSL_CERT_FILE` and `SSL_CERT_DIR` name others.
    """
    return httpx.create_ssl_context()
