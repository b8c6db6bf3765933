"""Keys of providers that come with a request: sealed by the platform, opened here.

`NIJIKA_SEALING_KEYS` holds the private keys of the remote workers, the newest first;
all workers of a queue have the same. The first one's public half goes out with the
specs of hosted engines; what was sealed to an older one can still be opened. The
platform holds public halves only: what it keeps beside a job it cannot read.

A sealed key names its job and its provider, so that it opens for no other.

    python -m gpu_worker.sealing    prints a new pair, as settings
"""

from __future__ import annotations

import base64
import json
import sys
from typing import Any

from gpu_worker import settings
from gpu_worker.errors import EngineUnavailable


class CannotOpen(EngineUnavailable):
    """The key that came with the request cannot be opened here."""


def public_key() -> str:
    """What the platform seals to, in base64; "" where no such keys are taken.

    Raises SettingsError for a private key that is none.
    """
    private = _private_keys()
    return _text(bytes(private[0].public_key)) if private else ""


def open_for(sealed: str, *, job_id: str, provider: str) -> str:
    """The key that was sealed for this job and provider. Raises CannotOpen."""
    from nacl.exceptions import CryptoError
    from nacl.public import SealedBox

    for private in _private_keys():
        try:
            opened = SealedBox(private).decrypt(base64.b64decode(sealed))
            return _checked(json.loads(opened), job_id, provider)
        except (CryptoError, ValueError):
            continue
    raise CannotOpen from None


def _checked(said: Any, job_id: str, provider: str) -> str:
    """Raises ValueError for what was sealed for something else."""
    if not isinstance(said, dict):
        raise ValueError("no object")
    if (said.get("job"), said.get("provider")) != (job_id, provider):
        raise ValueError("sealed for another job or provider")
    return str(said["key"])


def _private_keys() -> list[Any]:
    texts = [one.strip() for one in settings.text("NIJIKA_SEALING_KEYS", "").split(",")]
    if not any(texts):
        return []
    try:
        from nacl.public import PrivateKey
    except ImportError:
        return []  # a worker without hosted engines, among others that have them
    try:
        return [PrivateKey(base64.b64decode(one)) for one in texts if one]
    except Exception as error:
        # Not the error's own text: it may hold the value.
        raise settings.SettingsError(
            f"NIJIKA_SEALING_KEYS is not readable ({type(error).__name__}); "
            "make one by: python -m gpu_worker.sealing"
        ) from None


def _text(key: bytes) -> str:
    return base64.b64encode(key).decode()


if __name__ == "__main__":
    from nacl.public import PrivateKey

    made = PrivateKey.generate()
    sys.stdout.write(f"NIJIKA_SEALING_KEYS={_text(bytes(made))}\n")
    sys.stdout.write(f"NIJIKA_SEALING_PUBLIC_KEYS={_text(bytes(made.public_key))}\n")
