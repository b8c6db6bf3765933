"""Google Gemini's pictures, through google-genai. It answers in the same breath and
knows no idempotency key: a request whose end is unknown is repeated once at most."""

from __future__ import annotations

import re
from typing import Any

from google import genai
from google.genai import errors as sdk_errors
from google.genai import types

from gpu_worker.engines.hosted import errors, options, pictures, wire
from gpu_worker.engines.hosted.provider import Account, AtOnce, Made, Wish, nearest

# The values of `FinishReason` (ai.google.dev, GenerateContentResponse).
BLOCKED = {
    "SAFETY", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "RECITATION", "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "ESCALATION", "MODEL_ARMOR",
}  # fmt: skip
CUT_SHORT = {"MAX_TOKENS", "CONTINUATION"}
DELAY = re.compile(r"'retryDelay': '([0-9]{1,9}(?:\.[0-9]{1,9})?)s'", re.ASCII)
RATIOS = {"1:1": 1.0, "2:3": 2 / 3, "3:2": 1.5, "3:4": 0.75, "4:3": 4 / 3,
          "9:16": 9 / 16, "16:9": 16 / 9, "21:9": 21 / 9}  # fmt: skip
SIZES_PX = {"1K": 1024, "2K": 2048}


class Google(AtOnce):
    name = "google"

    def submit(self, wish: Wish, account: Account, timeout_s: float) -> Made:
        client = _client(account, timeout_s)
        try:
            answer = client.models.generate_content(
                model=wish.model, contents=_contents(wish), config=_config(wish)
            )
        except sdk_errors.APIError as error:
            raise _of_api(error) from None
        except Exception as error:
            raise wire.error_of(error) or errors.ProviderError() from None
        finally:
            client.close()
        return _made(answer)


def _client(account: Account, timeout_s: float) -> Any:
    """One for this request alone: what it was given, it has from nobody else."""
    return genai.Client(
        api_key=account.key,
        vertexai=False,
        http_options=types.HttpOptions(
            base_url=options.google_url() or None,
            timeout=round(timeout_s * 1000),
            retry_options=types.HttpRetryOptions(attempts=1),
        ),
    )


def _contents(wish: Wish) -> list[Any]:
    """The pictures in their order, then the words that refer to them."""
    parts = [
        types.Part.from_bytes(data=one, mime_type=pictures.type_of(one))
        for one in wish.pictures
    ]
    return [*parts, types.Part.from_text(text=wish.prompt)]


def _config(wish: Wish) -> Any:
    config: dict[str, Any] = {"response_modalities": ["IMAGE"]}
    if size := wish.size_px():
        config["image_config"] = types.ImageConfig(
            aspect_ratio=nearest(RATIOS, size),
            image_size="1K" if max(size) <= SIZES_PX["1K"] else "2K",
        )
    return types.GenerateContentConfig(**config)


def _made(answer: Any) -> Made:
    """The last picture; what leads up to it are sketches. Raises HostedError."""
    candidates = answer.candidates or []
    if not candidates:
        feedback = answer.prompt_feedback
        if feedback is not None and feedback.block_reason is not None:
            raise errors.Blocked("The provider refused the prompt or a picture.")
        raise errors.NoImage
    parts = (candidates[0].content and candidates[0].content.parts) or []
    found = [
        part.inline_data.data
        for part in parts
        if not part.thought and part.inline_data and part.inline_data.data
    ]
    if found:
        return Made(pictures=(found[-1],))
    raise _of_reason(_name(candidates[0].finish_reason))


def _of_reason(reason: str) -> errors.HostedError:
    if reason in BLOCKED:
        return errors.Blocked("The provider refused to show what it made.")
    if reason in CUT_SHORT:
        return errors.ProviderError()
    if reason == "PUP_LIMITED_DISABLED":
        return errors.ProviderAccount()
    return errors.NoImage()


def _of_api(error: Any) -> errors.HostedError:
    if error.code == 400 and _mentions_key(error):
        return errors.ProviderAccount()
    return errors.of_status(error.code or 0, _retry_after_s(error))


def _retry_after_s(error: Any) -> float:
    """Gemini says it in the details, as `RetryInfo` (google.rpc): "34.07s"."""
    headers = getattr(error.response, "headers", None)
    found = DELAY.search(str(error.details))
    return wire.retry_after_s(headers) or (float(found[1]) if found else 0.0)


def _mentions_key(error: Any) -> bool:
    """Gemini answers 400 to a key that is none, and says so in the details."""
    return "API_KEY_INVALID" in str(error.details)


def _name(value: Any) -> str:
    return str(getattr(value, "value", value) or "")
