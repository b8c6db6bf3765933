"""fal's models, through fal-client's queue.

A request that was queued has an id, which is the ticket: whoever has it and the key
asks on. fal knows no idempotency key for submitting, so the one request whose answer is
lost on its way is repeated, once at most.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import fal_client
from fal_client import client as sdk

from gpu_worker.engines.hosted import errors, fal_models, options, pictures, wire
from gpu_worker.engines.hosted.provider import Account, Made, Ticket, Wish

POLL_TIMEOUT_S = 30.0
BLOCKED = {"content_policy_violation", "nsfw_content", "content_moderation"}
BEYOND_OUR_MAPPING = {
    "output_format": "png",
    # The picture comes with the answer and is not put where all can read it.
    "sync_mode": True,
}


class Fal:
    name = "fal"

    def __init__(self) -> None:
        # The SDK repeats a submit up to ten times, also where it may have arrived:
        # each would be paid.
        sdk.MAX_ATTEMPTS = 1
        sdk.QUEUE_POLL_TIMEOUT = POLL_TIMEOUT_S
        sdk.QUEUE_URL_FORMAT = f"https://{options.fal_queue_host()}/"

    def submit(self, wish: Wish, account: Account, timeout_s: float) -> Ticket:
        with _asked(account, timeout_s=timeout_s) as client:
            handle = client.submit(
                wish.model, _arguments(wish), start_timeout=max(2.0, timeout_s)
            )
        return Ticket(json.dumps({"app": wish.model, "id": handle.request_id}))

    def poll(self, ticket: Ticket, account: Account) -> str | None:
        app, request_id = _read(ticket)
        with _asked(account, queued=True) as client:
            status = client.status(app, request_id)
        if isinstance(status, fal_client.Queued):
            return f"{status.position} before it in the provider's queue"
        return "the provider is at work" if _is_running(status) else None

    def fetch(self, ticket: Ticket, account: Account) -> Made:
        app, request_id = _read(ticket)
        with _asked(account, queued=True, result=True) as client:
            return _made(client.result(app, request_id))

    def cancel(self, ticket: Ticket, account: Account) -> None:
        app, request_id = _read(ticket)
        with (
            suppress(errors.HostedError),
            _asked(account, queued=True) as client,
        ):
            client.cancel(app, request_id)


@contextmanager
def _asked(
    account: Account,
    *,
    timeout_s: float = POLL_TIMEOUT_S,
    queued: bool = False,
    result: bool = False,
) -> Iterator[Any]:
    """This run's client, with its key and no other. Raises HostedError."""
    try:
        yield _client(account, timeout_s)
    except fal_client.FalClientHTTPError as error:
        raise _of_status(error, queued=queued, result=result) from None
    except errors.HostedError:
        raise
    except Exception as error:
        raise wire.error_of(error) or errors.ProviderError() from None


def _client(account: Account, timeout_s: float) -> Any:
    session = account.session
    if session.client is None:
        client = fal_client.SyncClient(key=account.key, default_timeout=timeout_s)
        session.client = client
        session.callback(client._client.close)
    return session.client


def _arguments(wish: Wish) -> dict[str, Any]:
    model = fal_models.model_of(wish.operation, wish.model)
    arguments: dict[str, Any] = {"prompt": wish.prompt} | BEYOND_OUR_MAPPING
    urls = [pictures.data_url(one) for one in wish.pictures]
    if model.pictures == "image_urls" and urls:
        arguments["image_urls"] = urls
    elif len(urls) > 1:
        raise errors.InvalidRequest("This model takes one picture.")
    elif urls:
        arguments["image_url"] = urls[0]
    for ours, theirs in fal_models.ARGUMENTS.items():
        if ours in wish.parameters and ours in model.members:
            arguments[theirs] = wish.parameters[ours]
    if (size := wish.size_px()) and wish.operation == "generate":
        arguments["image_size"] = {"width": size[0], "height": size[1]}
    return arguments


def _read(ticket: Ticket) -> tuple[str, str]:
    said = json.loads(ticket.text)
    return str(said["app"]), str(said["id"])


def _is_running(status: Any) -> bool:
    if isinstance(status, fal_client.InProgress):
        return True
    if getattr(status, "error", None):
        raise _of_type(str(getattr(status, "error_type", "") or ""))
    return False


def _made(answer: Any) -> Made:
    """The pictures of a result, wherever the model puts them. Raises HostedError."""
    if not isinstance(answer, dict):
        raise errors.NoImage
    if any(answer.get("has_nsfw_concepts") or []):
        raise errors.Blocked("The provider blanked what it made.")
    found = [url for one in _images(answer) if (url := _url(one))]
    if not found:
        raise errors.NoImage
    seed = answer.get("seed")
    details = {"seed": seed} if type(seed) is int else {}
    return Made(pictures=tuple(found), details=details)


def _images(answer: dict[str, Any]) -> list[Any]:
    images = answer.get("images")
    if isinstance(images, list) and images:
        return images
    return [answer.get("image"), answer.get("result")]


def _url(image: Any) -> str | None:
    url = image.get("url") if isinstance(image, dict) else None
    return url if isinstance(url, str) else None


def _of_status(error: Any, *, queued: bool, result: bool) -> errors.HostedError:
    """`result`: the answer is the model's own, which failed on this request."""
    kinds = _types(error)
    if kinds & BLOCKED:
        return errors.Blocked()
    if result and error.status_code >= 500:
        return errors.ProviderError()
    if queued and not result and error.status_code in (404, 410):
        return errors.ProviderError("The provider has lost the request.")
    return errors.of_status(
        error.status_code, wire.retry_after_s(error.response_headers)
    )


def _types(error: Any) -> set[str]:
    """What kind of error it is, by fal's words for kinds: its texts change."""
    found = {str(getattr(error, "error_type", "") or "")}
    with suppress(Exception):
        detail = error.response.json().get("detail")
        found |= {str(one.get("type")) for one in detail if isinstance(one, dict)}
    return found


def _of_type(kind: str) -> errors.HostedError:
    if kind in BLOCKED:
        return errors.Blocked()
    if "timeout" in kind:
        return errors.ProviderTimeout()
    return errors.ProviderError()
