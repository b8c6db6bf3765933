"""Stability AI's pictures, by its REST interface (v2beta): it has no SDK for that.

It answers in the same breath and knows no idempotency key: a request whose end is
unknown is repeated once at most.
"""

from __future__ import annotations

from typing import Any

import httpx

from gpu_worker.engines.hosted import errors, options, pictures, wire
from gpu_worker.engines.hosted.provider import Account, AtOnce, Made, Wish, nearest

PATHS = {"core": "generate/core", "inpaint": "edit/inpaint"}
RATIOS = {"1:1": 1.0, "16:9": 16 / 9, "21:9": 21 / 9, "2:3": 2 / 3, "3:2": 1.5,
          "4:5": 0.8, "5:4": 1.25, "9:16": 9 / 16, "9:21": 9 / 21}  # fmt: skip
MEMBERS = ("negative_prompt", "seed")


class Stability(AtOnce):
    name = "stability"

    def submit(self, wish: Wish, account: Account, timeout_s: float) -> Made:
        url = f"{options.stability_url()}/v2beta/stable-image/{PATHS[wish.model]}"
        headers = {"Authorization": f"Bearer {account.key}", "Accept": "image/*"}
        try:
            answer = httpx.post(
                url,
                headers=headers,
                data=_fields(wish),
                files=_files(wish),
                timeout=timeout_s,
            )
        except httpx.HTTPError as error:
            raise wire.error_of(error) or errors.ProviderError() from None
        return _made(answer)


def _fields(wish: Wish) -> dict[str, str]:
    fields = {"prompt": wish.prompt, "output_format": "png"}
    fields |= {n: str(wish.parameters[n]) for n in MEMBERS if n in wish.parameters}
    if wish.operation == "generate" and (size := wish.size_px()):
        fields["aspect_ratio"] = nearest(RATIOS, size)
    return fields


def _files(wish: Wish) -> dict[str, Any]:
    if not wish.pictures:
        # It reads forms with parts only.
        return {"none": (None, b"")}
    kind = pictures.type_of(wish.pictures[0])
    files: dict[str, Any] = {"image": ("image", wish.pictures[0], kind)}
    if wish.mask is not None:
        files["mask"] = ("mask.png", wish.mask, "image/png")
    return files


def _made(answer: httpx.Response) -> Made:
    if answer.status_code == 403 and _name(answer) == "content_moderation":
        raise errors.Blocked
    if answer.status_code != 200:
        raise errors.of_status(answer.status_code, wire.retry_after_s(answer.headers))
    if answer.headers.get("finish-reason", "SUCCESS") == "CONTENT_FILTERED":
        raise errors.Blocked("The provider blanked what it made.")
    if not answer.content:
        raise errors.NoImage
    seed = answer.headers.get("seed", "")
    details = {"seed": int(seed)} if seed.isdecimal() else {}
    return Made(pictures=(answer.content,), details=details)


def _name(answer: httpx.Response) -> str:
    try:
        return str(answer.json().get("name"))
    except (ValueError, AttributeError):
        return ""
