"""Operations, errors and events as a person would say them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    title: str
    text: str


OPERATIONS: dict[str, Words] = {
    "removebg": Words(
        title="Remove background", text="Cut the subject out, hair and edges included."
    ),
    "smart-mask": Words(
        title="Smart mask", text="Click on an object and get its outline as a mask."
    ),
    "generate": Words(title="Generate", text="Make a picture from a description."),
    "edit": Words(
        title="Edit", text="Change a picture by saying how; furnish an empty room."
    ),
    "upscale": Words(title="Upscale", text="Make a picture up to six times as large."),
    "resize": Words(title="Resize", text="Another size, format or quality."),
    "crop": Words(title="Crop", text="A part of the picture, or without its border."),
    "encode": Words(title="Convert", text="Another format, or fewer bytes."),
    "extract": Words(title="Extract", text="Take an object out by its mask."),
    "inpaint": Words(title="Fill in", text="Fill what is under the mask."),
    "canny": Words(title="Edges", text="The edges, as a black and white drawing."),
    "shadow": Words(title="Shadow", text="A soft shadow under a cut-out."),
    "white-balance": Words(title="White balance", text="Neutral colours, by itself."),
    "compose": Words(title="Compose", text="Put a cut-out on a new background."),
}

ERRORS: dict[str, Words] = {
    "invalid_image": Words(
        title="The image could not be read",
        text="The file is damaged or ends too early. Open it in an image program, save"
        " it anew as JPEG or PNG, and try again.",
    ),
    "invalid_parameters": Words(
        title="The parameters do not fit this image",
        text="What they ask for cannot be had of it; the message below says why."
        " Change them and run the job again.",
    ),
    "fetch_failed": Words(
        title="The image's address gave nothing",
        text="We could not fetch it: see that the address opens without signing in and"
        " answers within 20 seconds, or upload the file instead.",
    ),
    "url_not_allowed": Words(
        title="The image's address is not allowed",
        text="It leads to a private or unusual place. Use a public https address, or"
        " upload the file instead.",
    ),
    "engine_unavailable": Words(
        title="The engine was not available",
        text="It is not set up here at the moment. Choose another engine, or try again"
        " later.",
    ),
    "engine_failed": Words(
        title="The engine failed",
        text="That is our fault, not your image's. Run it again; if it fails again,"
        " tell us the job's id.",
    ),
    "out_of_memory": Words(
        title="The image needed more memory than there is",
        text="Try a smaller image or a smaller result.",
    ),
    "limit_exceeded": Words(
        title="The job took too long",
        text="It was stopped at its limit of time or memory. A smaller image or a"
        " simpler request will do.",
    ),
    "content_blocked": Words(
        title="The provider declined this content",
        text="Its rules on content refused the picture or the prompt. Change what you"
        " ask for.",
    ),
    "invalid_request": Words(
        title="The provider did not take this request",
        text="It says why below. Change what you ask for, or choose another engine.",
    ),
    "model_gone": Words(
        title="The provider no longer has this model",
        text="Choose another engine.",
    ),
    "no_image": Words(
        title="The provider answered without a picture",
        text="It happens when a prompt asks for words, or for nothing to be changed."
        " Say what the picture should show, and try again.",
    ),
    "provider_account": Words(
        title="The provider refused the key",
        text="The key is wrong, or its account has no money left. With a key of your"
        " own, look at your account there; else tell us.",
    ),
    "provider_error": Words(
        title="The provider failed",
        text="That is its fault. Try again later, or choose another engine.",
    ),
    "provider_rate_limited": Words(
        title="The provider had too many requests",
        text="Try again in some minutes, or choose another engine.",
    ),
    "provider_timeout": Words(
        title="The provider took too long",
        text="Try again later, or choose another engine.",
    ),
    "provider_unavailable": Words(
        title="The provider could not be reached",
        text="Try again later, or choose another engine.",
    ),
    "worker_lost": Words(
        title="The machine was lost while it worked",
        text="That happens when hardware fails. Run it again.",
    ),
    "storage_unavailable": Words(
        title="The file store did not answer",
        text="That is our fault. Run it again in a few minutes.",
    ),
    "expired": Words(
        title="The job waited too long",
        text="No worker was free, or up, within the time that a job may wait. Run it"
        " again later, or with another engine.",
    ),
}
OTHER = Words(title="The job failed", text="The message below says why.")

EVENTS: dict[str, str] = {
    "queued": "Accepted; its credits are set aside",
    "started": "Started on a worker",
    "requeued": "Back in the queue",
    "succeeded": "Done",
    "failed": "Failed; the credits came back",
    "cancelled": "Cancelled; the credits came back",
    "erased": "Its files were erased",
}
REASONS: dict[str, str] = {
    "worker_lost": "the worker was lost",
    "handed_back": "the worker handed it back",
}
WAITING: dict[str, str] = {
    "input": "Its picture is being fetched",
    "retry": "It failed in a way that passes, and is tried again in a moment",
    "no_worker": "No worker is up for this engine; it starts when one comes",
    "loading": "Its engine is being loaded",
    "load_failed": "Its engine could not be loaded; that is tried again",
    "turn": "Others are before it",
}


def operation(name: str) -> Words:
    return OPERATIONS.get(name, Words(title=name.replace("-", " ").title(), text=""))


def error(found: dict[str, Any] | None) -> Words | None:
    """What a job's error means and what to do; None where there is none."""
    return ERRORS.get(found.get("code", ""), OTHER) if found else None


def event(kind: str, reason: str) -> str:
    words = EVENTS.get(kind, kind)
    if not reason or kind == "failed":
        return words
    return f"{words}: {REASONS.get(reason) or _of_code(reason)}"


def waiting(found: dict[str, Any] | None) -> str:
    """What a queued job waits for, and about how long; empty for others."""
    if not found:
        return ""
    words = WAITING.get(found["reason"] or "", "Waiting for a worker")
    eta_s = found["eta_s"]
    return words if eta_s is None else f"{words}; done in about {max(eta_s, 1):.0f} s"


def _of_code(code: str) -> str:
    known = ERRORS.get(code)
    return known.title.lower() if known else code.replace("_", " ")
