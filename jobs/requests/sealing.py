"""Keys of providers that come with a request, for that one job.

A key is sealed at once to the public key that the engine's workers announced with
their specs. From then on only such a worker can read it: it lies sealed beside the job
(`Job.sealed_key`), goes sealed to the worker with its grant, and is deleted by whatever
ends the job. It is in no digest, no log and no event.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Mapping
from uuid import UUID

from django.conf import settings
from nacl.public import PublicKey, SealedBox

from gpu_worker.contract import EngineSpec
from jobs.errors import BadFields, FieldError

HEADERS: dict[str, tuple[str, ...]] = {
    "google": ("X-Google-Api-Key", "X-Gemini-Api-Key"),
    "fal": ("X-Fal-Key",),
    "openai": ("X-OpenAI-Api-Key",),
    "stability": ("X-Stability-Api-Key",),
}
"""By provider, the headers that may carry a key of the client's own."""
MOST_CHARACTERS = 500


def _variable(header: str) -> str:
    return "HTTP_" + header.upper().replace("-", "_")


_VARIABLES = {_variable(name) for names in HEADERS.values() for name in names}


def keys_of(headers: Mapping[str, str]) -> dict[str, str]:
    """The keys by provider in a WSGI environment. Raises BadFields, which never tells
    what a header holds."""
    found: dict[str, str] = {}
    if _VARIABLES.isdisjoint(headers):  # as nearly always
        return found
    for provider, names in HEADERS.items():
        given = {name: headers.get(_variable(name), "").strip() for name in names}
        keys = {name: key for name, key in given.items() if key}
        for name, key in keys.items():
            _check(name, key)
        if len(set(keys.values())) > 1:
            what = f"is another key than {names[0]}"
            raise BadFields(FieldError(names[1], "repeated", what))
        for key in keys.values():
            found[provider] = key
    return found


def is_used(spec: EngineSpec, providers: Collection[str]) -> bool:
    """Whether an engine calls one of these providers, so that a key for it counts.

    Keys for others are of no use to the job, and not kept.
    """
    return bool(spec.provider) and spec.provider in providers


def takes_keys(spec: EngineSpec) -> bool:
    """Whether its workers have said how to seal a key, and, where the owner has pinned
    public keys, have said one of those: a worker that runs elsewhere has the link's
    token, too, and could announce a key of its own."""
    pinned = settings.SEALING_PUBLIC_KEYS
    known = not pinned or spec.sealing_key in pinned
    return bool(spec.provider and spec.sealing_key) and known


def check(spec: EngineSpec) -> None:
    """Raises BadFields where no key can be sealed for the engine's workers."""
    if not takes_keys(spec):
        field = HEADERS[spec.provider][0]
        raise BadFields(FieldError(field, "unsupported", "own keys are not taken here"))


def seal(spec: EngineSpec, key: str, job_id: UUID) -> str:
    """The key as it may lie in the database: only this engine's workers can open it,
    and only for this job."""
    box = SealedBox(PublicKey(base64.b64decode(spec.sealing_key)))
    said = {"job": str(job_id), "provider": spec.provider, "key": key}
    return base64.b64encode(box.encrypt(json.dumps(said).encode())).decode()


def _check(name: str, key: str) -> None:
    sound = key.isascii() and key.isprintable() and " " not in key
    if not sound or len(key) > MOST_CHARACTERS:
        what = f"must be at most {MOST_CHARACTERS} visible ASCII characters"
        raise BadFields(FieldError(name, "format", what))
