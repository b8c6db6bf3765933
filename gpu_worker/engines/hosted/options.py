"""The settings of hosted engines, read when they are needed."""

from __future__ import annotations

from gpu_worker.settings import seconds, text

KEYS = {
    "google": ("GOOGLE_API_KEY", "GEMINI_API_KEY"),
    "fal": ("FAL_KEY",),
    "openai": ("OPENAI_API_KEY",),
    "openai-compatible": ("NIJIKA_COMPATIBLE_API_KEY",),
    "stability": ("STABILITY_API_KEY",),
}
"""By provider, the variables that may hold the owner's key, the first found counts."""


def check() -> None:
    """Raises SettingsError for settings that cannot be read: before a worker begins."""
    timeout_s(), poll_s(), circuit_pause_s()


def key_of(provider: str) -> str:
    """The owner's key, or ""."""
    return next((key for name in KEYS[provider] if (key := text(name, ""))), "")


def timeout_s() -> float:
    """How long a provider may take for one request, waiting in its queue included."""
    return seconds("NIJIKA_PROVIDER_TIMEOUT", "240s")


def poll_s() -> float:
    """How long between two looks at a request that a provider has queued."""
    return seconds("NIJIKA_PROVIDER_POLL", "1s")


def circuit_pause_s() -> float:
    """How long a provider that failed again and again is left alone; it doubles."""
    return seconds("NIJIKA_PROVIDER_CIRCUIT_PAUSE", "10s")


def allowed_hosts() -> list[str]:
    """Hosts of results that may be reached although they are private."""
    return [one for one in text("NIJIKA_PROVIDER_ALLOWED_HOSTS", "").split(",") if one]


def google_url() -> str:
    return text("NIJIKA_GOOGLE_URL", "")


def google_model() -> str:
    return text("GOOGLE_MODEL_ID", "gemini-nano-banana-2.1")


def openai_url() -> str:
    return text("NIJIKA_OPENAI_URL", "https://api.openai.com/v1")


def openai_model() -> str:
    return text("NIJIKA_OPENAI_MODEL", "gpt-image-2")


def compatible_url() -> str:
    return text("NIJIKA_COMPATIBLE_URL", "")


def compatible_model() -> str:
    return text("NIJIKA_COMPATIBLE_MODEL", "")


def stability_url() -> str:
    return text("NIJIKA_STABILITY_URL", "https://api.stability.ai")


def fal_queue_host() -> str:
    return text("NIJIKA_FAL_QUEUE_HOST", "queue.fal.run")
