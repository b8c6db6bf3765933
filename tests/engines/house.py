"""A whole nijika with workers of this interpreter, which may have torch."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_worker import registry
from gpu_worker.contract import SANDBOX
from tests.flows.house import Answer, House, house

BEFORE_WORKERS = """\
web: python -m nijika.web
control: python manage.py control
fetcher: python manage.py control --only fetch,webhooks
"""


@dataclass(slots=True)
class EngineHouse(House):
    """A house whose workers run the engines' real code on tiny models."""

    def ask(
        self,
        operation: str,
        *images: bytes,
        engine: str = "",
        files: Mapping[str, bytes] | None = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        **parameters: Any,
    ) -> Answer:
        """Submit by JSON: images as data URLs, `files` by role (mask, reference)."""
        body: dict[str, Any] = {"operation": operation, "parameters": parameters}
        urls = [data_url(image) for image in images]
        if urls:
            body["image"] = urls[0] if len(urls) == 1 else urls
        if engine:
            body["engine"] = engine
        body |= {role: data_url(data) for role, data in (files or {}).items()}
        return self.call(
            "POST",
            "/api/v1/jobs",
            key=key,
            body=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"} | dict(headers or {}),
        )

    def began(self, operation: str, *images: bytes, **rest: Any) -> str:
        """Ask for what must be accepted; the job's id."""
        answer = self.ask(operation, *images, **rest)
        assert answer.status == 202, answer.body
        job_id: str = answer.body["id"]
        return job_id

    def done(
        self, operation: str, *images: bytes, within_s: float = 60, **rest: Any
    ) -> Any:
        """Ask, and wait for the end, whatever it is: the job."""
        job_id = self.began(operation, *images, **rest)
        return self.end_of(job_id, within_s=within_s)

    def result(self, job: Any, index: int = 0) -> bytes:
        """The bytes of a result of a job that must have succeeded."""
        assert job["status"] == "succeeded", job["error"]
        answer = self.call("GET", f"/api/v1/jobs/{job['id']}/result/{index}")
        assert answer.status == 200, answer.body
        data: bytes = answer.body
        return data

    def engine(self, operation: str, name: str) -> Any:
        """What `GET /operations` says of an engine."""
        listed = self.call("GET", "/api/v1/operations?limit=100").body["items"]
        engines = [o["engines"] for o in listed if o["name"] == operation]
        return next(one for one in engines[0] if one["name"] == name)

    def log(self, name: str) -> str:
        """All that a process of the house has said."""
        return (self.stack.folder / "logs" / f"{name}.log").read_text()


@contextmanager
def engine_house(
    folder: Path,
    *,
    weights: Path,
    queues: Iterable[str],
    slots: int = 2,
    settings: Mapping[str, str] | None = None,
) -> Iterator[EngineHouse]:
    """A house with one worker per queue, named as the queue; every engine that the
    worker knows may be chosen. `settings` go before the house's own."""
    names = list(queues)
    procfile = folder / "Procfile"
    folder.mkdir(parents=True, exist_ok=True)
    procfile.write_text(BEFORE_WORKERS + "".join(_line(n, slots) for n in names))
    ours = {
        "NIJIKA_WEIGHTS": str(weights),
        "NIJIKA_DEVICE": "cpu",
        "NIJIKA_QUEUES": ",".join(names),
        "NIJIKA_CHOOSABLE_ENGINES": ",".join(_choosable()),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    with house(
        folder,
        settings=ours | dict(settings or {}),
        procfile=procfile,
        kind=EngineHouse,
    ) as built:
        yield built


def data_url(content: bytes) -> str:
    return "data:;base64," + base64.b64encode(content).decode()


def _line(queue: str, slots: int) -> str:
    command = f"python -m gpu_worker --queue {queue} --name {queue}-1 --slots {slots}"
    return f"{queue}: {command}\n"


def _choosable() -> list[str]:
    keys = sorted(registry.table())
    return [f"{of}/{name}" for of, name in keys if name != SANDBOX and of != "proxy"]
