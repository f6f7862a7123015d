"""Encryption at rest of Label Studio's tokens (Fernet: AES-128-CBC with HMAC-SHA256).

The key comes from SECRET_KEY, else from a file in the data folder that only its owner may read. Machines that
share a database need the same SECRET_KEY.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import uuid
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from earmark.errors import SecretKeyError
from earmark.settings import Settings
from earmark.storage.atomic_files import ensure_dir

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

KEY_FILE = "secret.key"
_PREFIX = "fernet:"
_SALT = b"earmark tokens"


class TokenCipher:
    """Encrypts and decrypts tokens with this installation's key, which is created at first use."""

    def __init__(self, settings: Settings) -> None:
        secret = settings.secret_key
        self._secret = secret.get_secret_value() if secret else None
        self._path = settings.data_dir.resolve() / KEY_FILE

    def encrypt(self, token: str) -> str:
        """Encrypt a token for storage; an empty one stays empty.

        Raises
        ------
        ConfigurationError
            The key cannot be stored in the data folder.
        """
        return _PREFIX + self._fernet().encrypt(token.encode()).decode() if token else ""

    def decrypt(self, stored: str) -> str:
        """Decrypt a stored token; one stored in plain text by an earlier release is returned unchanged.

        Raises
        ------
        SecretKeyError
            It was encrypted with another key.
        """
        if not stored.startswith(_PREFIX):
            return stored
        from cryptography.fernet import InvalidToken

        try:
            return self._fernet().decrypt(stored.removeprefix(_PREFIX).encode()).decode()
        except InvalidToken as error:
            raise SecretKeyError(
                "A stored token of Label Studio was encrypted with another key: set the SECRET_KEY of the "
                f"process that stored it, bring back {self._path}, or connect the backend again."
            ) from error

    def _fernet(self) -> Fernet:
        return _fernet_of(self._secret, self._path)


@lru_cache(maxsize=16)
def _fernet_of(secret: str | None, path: Path) -> Fernet:
    from cryptography.fernet import Fernet

    if secret is None:
        return Fernet(_key_in(path))
    derived = hashlib.scrypt(secret.encode(), salt=_SALT, n=2**14, r=8, p=1, dklen=32)
    return Fernet(base64.urlsafe_b64encode(derived))


def _key_in(path: Path) -> bytes:
    """Read the key file, or create it; processes that create it at the same time agree on one key."""
    from cryptography.fernet import Fernet

    with ensure_dir(path.parent):
        if not path.exists():
            part = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(Fernet.generate_key())
                with contextlib.suppress(FileExistsError):  # another process was first
                    path.hardlink_to(part)
            finally:
                part.unlink()
        return path.read_bytes().strip()
