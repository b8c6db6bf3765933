"""Kills, stops, flushes and restarts at random while clients submit; then the audit.

The seed decides which fault comes when; the machine decides what it meets, so a seed
repeats a storm only roughly.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import redis

from nijika.local.demo import PHOTO
from tests.flows.house import ENDS, House, eventually

CLIENTS = 4
PAUSE_S = 2.0
"""A client's longest pause: together they ask for half of what a worker does."""
CALM_S = 4.0
"""Longest pause between two faults: some fall into the recovery from the last."""
ENDS_WITHIN_S = 120.0

SETTINGS = {
    # Orphans and expired files go while the storm's audit waits for it.
    "NIJIKA_SWEEP": "2s",
    "NIJIKA_ORPHAN_AFTER": "20s",
    # A storm of faults is no fault of the jobs.
    "NIJIKA_MAX_FAILURES": "50",
}


@dataclass(slots=True)
class Storm:
    """Faults against a house, with clients that submit meanwhile."""

    home: House
    seed: int
    say: Callable[[str], None] = lambda text: None
    faults: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    accepted: list[str] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def rage(self, *, seconds: float) -> None:
        """Submit and break things for so long; then everything is put up again."""
        clients = [threading.Thread(target=self._client) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        try:
            self._break_things(until=time.monotonic() + seconds)
        finally:
            self._over.set()
            for client in clients:
                client.join()
        self.home.settle_down(within_s=60)

    def audit(self) -> list[str]:
        """What is wrong afterwards; an empty list is what everybody hopes for."""
        unfinished = self._wait_for_ends()
        problems = [f"accepted, never ended: {job_id}" for job_id in unfinished]
        problems += [f"lost: {job_id}" for job_id in self._lost()]
        problems += self._charged_wrongly()
        try:
            self.home.check_ledger()
        except RuntimeError as failure:
            problems.append(str(failure))
        if not unfinished:
            problems += [f"orphaned file: {path}" for path in self._orphans()]
        return problems

    def statuses(self) -> Counter[str]:
        rows = self.home.sql("SELECT status, count(*) FROM jobs_job GROUP BY status")
        return Counter(dict(rows))

    def _client(self) -> None:
        chance = random.Random(f"{self.seed} {threading.get_ident()}")
        while not self._over.is_set():
            try:
                self._submit_one(chance)
            except OSError:
                self.answers["no answer"] += 1
            time.sleep(chance.random() * PAUSE_S)

    def _submit_one(self, chance: random.Random) -> None:
        if chance.random() < 0.1:
            answer = self.home.submit("removebg", PHOTO, timeout_s=20)
        else:
            seconds = chance.random() * 0.3
            answer = self.home.submit("sleep", seconds=seconds, timeout_s=20)
        self.answers[str(answer.status)] += 1
        if answer.status == 202:
            job_id = answer.body["id"]
            self.accepted.append(job_id)
            if chance.random() < 0.1:
                self.home.call("POST", f"/api/v1/jobs/{job_id}/cancel")

    def _break_things(self, *, until: float) -> None:
        chance = random.Random(self.seed)
        faults = [self._kill, self._stand, self._flush, self._freeze]
        faults += [self._restart_redis, self._restart_postgres, self._crash_postgres]
        weights = [8, 3, 2, 2, 1, 1, 1]
        while time.monotonic() < until:
            fault = chance.choices(faults, weights)[0]
            name = fault(chance)
            self.faults[name] += 1
            self.say(name)
            pause = time.monotonic() + chance.random() * CALM_S
            while time.monotonic() < pause:
                self.home.supervise()
                time.sleep(0.1)

    def _kill(self, chance: random.Random) -> str:
        name = chance.choices(["worker", "control", "web", "fetcher"], [6, 2, 2, 1])[0]
        if self.home.stack.supervisor.programs[name].running:
            self.home.kill(name)
        return f"kill {name}"

    def _stand(self, chance: random.Random) -> str:
        name = chance.choice(["worker", "control", "web"])
        if self.home.stack.supervisor.programs[name].running:
            with self.home.standing(name):
                time.sleep(chance.random() * 6)
        return f"stop and continue {name}"

    def _flush(self, chance: random.Random) -> str:
        url = self.home.stack.environment["REDIS_URL"]
        redis.from_url(url).flushall()
        return "flush redis"

    def _freeze(self, chance: random.Random) -> str:
        assert self.home.stack.redis
        with self.home.frozen(self.home.stack.redis):
            time.sleep(chance.random() * 8)
        return "freeze redis"

    def _restart_redis(self, chance: random.Random) -> str:
        assert self.home.stack.redis
        self.home.stack.redis.stop()
        time.sleep(chance.random() * 3)
        self.home.stack.redis.restart()
        return "restart redis"

    def _restart_postgres(self, chance: random.Random) -> str:
        assert self.home.stack.postgres
        self.home.stack.postgres.stop()
        time.sleep(chance.random() * 3)
        self.home.stack.postgres.restart()
        return "restart postgres"

    def _crash_postgres(self, chance: random.Random) -> str:
        assert self.home.stack.postgres
        self.home.stack.postgres.stop(how=9)
        self.home.stack.postgres.restart()
        return "crash postgres"

    def _wait_for_ends(self) -> list[str]:
        query = "SELECT id::text FROM jobs_job WHERE NOT status = ANY(%s)"
        end = time.monotonic() + ENDS_WITHIN_S
        while True:
            self.home.supervise()
            unfinished = [row[0] for row in self.home.sql(query, list(ENDS))]
            if not unfinished or time.monotonic() > end:
                return unfinished
            time.sleep(0.5)

    def _lost(self) -> list[str]:
        known = {row[0] for row in self.home.sql("SELECT id::text FROM jobs_job")}
        return [job_id for job_id in self.accepted if job_id not in known]

    def _charged_wrongly(self) -> list[str]:
        """Jobs whose entries are not one hold and one settle that sum to -charged."""
        query = """
            SELECT j.id::text, j.status FROM jobs_job j LEFT JOIN billing_entry e
            ON e.reference = j.id::text WHERE j.ended_at IS NOT NULL
            GROUP BY j.id HAVING sum(e.amount) IS DISTINCT FROM -j.charged
            OR count(*) <> 2
            OR j.charged <> CASE j.status WHEN 'succeeded' THEN j.price ELSE 0 END
        """
        return [f"charged wrongly: {row}" for row in self.home.sql(query)]

    def _orphans(self) -> list[Path]:
        """Files that no job names, once the sweep had its time."""
        try:
            eventually(lambda: None if self._unnamed() else True, within_s=60)
        except AssertionError:
            return self._unnamed()
        return []

    def _unnamed(self) -> list[Path]:
        folder = self.home.stack.folder / "storage"
        query = """
            SELECT f ->> 'key' FROM jobs_job, jsonb_array_elements(results || inputs) f
        """
        named = {row[0] for row in self.home.sql(query)}
        files = [path for path in folder.rglob("*") if path.is_file()]
        return [path for path in files if str(path.relative_to(folder)) not in named]
