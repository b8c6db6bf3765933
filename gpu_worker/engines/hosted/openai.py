"""OpenAI's images, and endpoints that speak as they do, through openai's SDK.

They answer in the same breath. The job's id goes along as `Idempotency-Key`: OpenAI
promises nothing for it, a compatible endpoint may; so a request whose end is unknown is
repeated once at most.
"""

from __future__ import annotations

from typing import Any, ClassVar

import openai as sdk

from gpu_worker.engines.hosted import errors, options, pictures, wire
from gpu_worker.engines.hosted.provider import Account, AtOnce, Made, Wish, nearest

SIZES = {"1024x1024": 1.0, "1536x1024": 1.5, "1024x1536": 1024 / 1536}
BLOCKED = {"moderation_blocked", "content_policy_violation", "content_filter"}
NO_CREDIT = {"insufficient_quota", "billing_hard_limit_reached"}
GONE = {"model_not_found", "model_deprecated"}


class OpenAI(AtOnce):
    name: ClassVar[str] = "openai"

    def submit(self, wish: Wish, account: Account, timeout_s: float) -> Made:
        client = self._client(account, timeout_s)
        try:
            return _made(self._ask(client.images, wish))
        except sdk.APIStatusError as error:
            raise _of_status(error) from None
        except sdk.APITimeoutError:
            raise errors.ProviderTimeout from None
        except sdk.APIConnectionError as error:
            raise _of_cause(error) from None
        except sdk.OpenAIError:
            raise errors.ProviderError from None
        finally:
            client.close()

    def url(self) -> str:
        return options.openai_url()

    def size(self, wish: Wish) -> str | None:
        """The one of its sizes that is most like the wanted one."""
        size = wish.size_px()
        return nearest(SIZES, size) if size else None

    def _client(self, account: Account, timeout_s: float) -> Any:
        client = sdk.OpenAI(
            api_key=account.key,
            base_url=self.url(),
            timeout=timeout_s,
            max_retries=0,
        )
        # The owner's, out of the environment: not to go along with another's key.
        client.organization = client.project = None
        return client

    def _ask(self, images: Any, wish: Wish) -> Any:
        asked: dict[str, Any] = {
            "model": wish.model,
            "prompt": wish.prompt,
            "n": wish.parameters.get("n", 1),
            "extra_headers": {"Idempotency-Key": wish.job_id},
        }
        if size := self.size(wish):
            asked["size"] = size
        if wish.operation == "generate":
            return images.generate(**asked)
        files = [_upload(f"image-{n}", one) for n, one in enumerate(wish.pictures)]
        if wish.mask is not None:
            asked["mask"] = ("mask.png", wish.mask, "image/png")
        return images.edit(image=files if len(files) > 1 else files[0], **asked)


class Compatible(OpenAI):
    """At the owner's address, which takes sizes as they are."""

    name = "openai-compatible"

    def url(self) -> str:
        return options.compatible_url()

    def size(self, wish: Wish) -> str | None:
        size = wish.size_px()
        return f"{size[0]}x{size[1]}" if size else None


def _upload(name: str, file: bytes) -> tuple[str, bytes, str]:
    kind = pictures.type_of(file)
    return f"{name}.{kind.partition('/')[2]}", file, kind


def _made(answer: Any) -> Made:
    found: list[bytes | str] = []
    for one in getattr(answer, "data", None) or []:
        if one.b64_json:
            found.append(pictures.of_base64(one.b64_json))
        elif one.url:
            found.append(one.url)
    if not found:
        raise errors.NoImage
    return Made(pictures=tuple(found))


def _of_status(error: Any) -> errors.HostedError:
    code = error.code if isinstance(error.code, str) else ""
    if code in BLOCKED:
        return errors.Blocked()
    if code in NO_CREDIT:
        return errors.ProviderAccount()
    if code in GONE:
        return errors.ModelGone()
    return errors.of_status(
        error.status_code, wire.retry_after_s(error.response.headers)
    )


def _of_cause(error: Any) -> errors.HostedError:
    cause = error.__cause__
    found = wire.error_of(cause) if cause is not None else None
    return found or errors.ProviderUnavailable(unpaid=False)
