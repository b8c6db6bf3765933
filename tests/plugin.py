"""Real servers for every run: PostgreSQL and Redis of its own, gone when it ends.

Loaded by `-p tests.plugin`, so that it comes before pytest-django reads the settings.
Each parallel worker of pytest-xdist has its own database (pytest-django names them),
its own Redis and its own storage folder; all share the first process's PostgreSQL.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from nijika.local import servers

FOLDER = Path(tempfile.mkdtemp(prefix="nijika-tests-"))
SHARED = "NIJIKA_TEST_DATABASE_URL"


def start() -> None:
    FOLDER.chmod(0o755)
    atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
    if SHARED not in os.environ:
        postgres = servers.start_postgres(FOLDER, durable=False)
        atexit.register(postgres.stop)
        os.environ[SHARED] = postgres.url
    redis = servers.start_redis(FOLDER / "redis")
    atexit.register(redis.stop)
    os.environ.update(
        DATABASE_URL=os.environ[SHARED],
        REDIS_URL=redis.url,
        NIJIKA_SECRET_KEY="for tests only",
        NIJIKA_LINK_TOKEN="the link token of the tests",
        NIJIKA_STORAGE_URL=f"file://{FOLDER}/storage",
        NIJIKA_RATE_LIMITS="false",
    )


start()
