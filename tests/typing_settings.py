"""Settings for mypy's Django plugin, which reads the models and connects to nothing."""

import os

for name in ("NIJIKA_SECRET_KEY", "NIJIKA_LINK_TOKEN"):
    os.environ.setdefault(name, "unused")
os.environ.setdefault("DATABASE_URL", "postgres://unused@127.0.0.1/unused")
os.environ.setdefault("REDIS_URL", "redis://127.0.0.1/0")

from nijika.settings import *  # noqa: E402, F403
