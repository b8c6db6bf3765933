"""The worker as a whole: its parts, how they start, and how they go in time.

SIGTERM    take nothing more; let end what ends within the grace; hand back the rest;
           say so to the platform; exit, whatever hangs.
overdue    a device run past its limit cannot be ended but with the process: report
           it, hand back the rest, exit with a failure. The supervisor starts anew.
lost       a device that failed is lost for this process: the same.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
import warnings
from collections.abc import Sequence
from typing import Any

from gpu_worker import registry
from gpu_worker.app import app, configure
from gpu_worker.batching import Batcher
from gpu_worker.children import Child
from gpu_worker.contract import SANDBOX, EngineSpec
from gpu_worker.files import Files
from gpu_worker.gate import Gate
from gpu_worker.lanes import ChildLane, Device
from gpu_worker.link import Link
from gpu_worker.pace import Pace
from gpu_worker.runner import Runner
from gpu_worker.settings import Settings
from gpu_worker.spare import Spare
from gpu_worker.standing import Standing
from gpu_worker.storage import Remote
from gpu_worker.waiting import WaitingLane, WaitingRoom

logger = logging.getLogger("gpu_worker")

START_LIMIT_S = 1800.0
"""Weights of tens of gigabytes come from a disk, and sizes are compiled ahead."""
FLUSH_S = 3.0
EXIT_OVERDUE = 75
EXIT_LOST = 76
WATCH_EVERY_S = 0.25
THREADS_PER_SLOT = 3
LEAST_PRIORITY = 19
USABLE = ("", "provider_key_missing")
"""Reasons that leave an engine that waits of use: a client may bring the key."""

_runner: Runner | None = None


def current() -> Runner:
    """The runner of this process."""
    assert _runner is not None
    return _runner


class Program:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        specs = registry.specs_of(settings.queue)
        self._standing = Standing()
        self._device = Device(self._standing, lost=self._on_lost)
        self._gate = Gate(settings.slots)
        self._files = Files(
            settings.scratch,
            Remote(settings.storage_timeout_s, settings.storage_connections),
        )
        self._link = Link(
            settings,
            specs,
            free_slots=lambda: self._gate.free_slots,
            stop=lambda runs: self._runner.stop(runs),
            replaced=lambda: self._exit(1),
            standing=self._standing,
            unload=self._unload,
        )
        self._devices = _device_batchers(specs, self._device)
        self._remote = _remote_batchers(specs, settings.slots, self._standing)
        self._children = Batcher("child", self._lanes())
        self._spare = self._spare_room()
        self._runner = Runner(
            link=self._link,
            gate=self._gate,
            pace=Pace(settings.claim_ahead_s),
            files=self._files,
            child_batcher=self._children,
            device_batchers=self._devices | self._remote,
            standing=self._standing,
            spare=self._spare,
        )
        self._drained = threading.Event()
        self._is_flushed = False

    def run(self) -> int:
        """Work until told to stop. The exit status."""
        global _runner
        _runner = self._runner
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._leave)  # until there is something to drain
        if not self._specs():
            logger.error("no engine for the queue %s", self._settings.queue)
            return 1
        if not self._start():
            logger.error("the engines did not become ready")
            return 1
        self._consume()
        self._drain_in_time()  # also where Celery ended by itself
        self._drained.wait(self._settings.grace_s + 2 * FLUSH_S)
        return 0 if self._is_flushed else 1

    def _start(self) -> bool:
        """Warm children and loaded engines first: a message finds a ready worker."""
        batchers = [self._children, *self._devices.values(), *{*self._remote.values()}]
        if self._spare is not None:
            self._spare.start()
        for batcher in batchers:
            batcher.start()
        if self._devices:
            self._link.start()  # at once: loading takes long, and is something to tell
        if not all(batcher.wait_ready(START_LIMIT_S) for batcher in batchers):
            return False
        self._link.ready.set()
        self._standing.wake()
        if not self._devices:
            self._link.start()
        threading.Thread(target=self._watch, name="watch", daemon=True).start()
        logger.info(
            "worker %s: queue %s, %s slots, engines %s",
            self._settings.name,
            self._settings.queue,
            self._settings.slots,
            ", ".join("/".join(registry.key_of(s)) for s in self._specs()),
        )
        return True

    def _specs(self) -> tuple[EngineSpec, ...]:
        return registry.specs_of(self._settings.queue)

    def _lanes(self) -> list[ChildLane]:
        """A child per slot; fewer where all that runs in one is a moment's work before
        and after a provider's."""
        cores, count = os.cpu_count() or 1, self._settings.slots
        if self._remote and self._is_all_remote():
            count = min(count, cores)
        threads = max(1, cores // count)
        return [ChildLane(self._child(threads=threads)) for _ in range(count)]

    def _is_all_remote(self) -> bool:
        keys = [registry.key_of(spec) for spec in self._specs()]
        return all(registry.engine_class(key).placement == "remote" for key in keys)

    def _child(self, *, threads: int, nice: int = 0) -> Child:
        memory_bytes = self._settings.memory_bytes
        return Child(
            self._settings.queue, memory_bytes=memory_bytes, threads=threads, nice=nice
        )

    def _spare_room(self) -> Spare | None:
        """None where no engine of this worker is the sandbox."""
        if any(spec.engine == SANDBOX for spec in self._specs()):
            return Spare(self._child(threads=1, nice=LEAST_PRIORITY))
        return None

    def _close_gates(self) -> None:
        self._gate.close()
        if self._spare is not None:
            self._spare.gate.close()

    def _consume(self) -> None:
        """Celery's part: take messages until a signal, then wait for its threads."""
        from celery import signals
        from celery.platforms import SecurityWarning

        # It warns of root because of pickled messages; ours are JSON.
        warnings.simplefilter("ignore", SecurityWarning)
        configure(
            broker_url=self._settings.broker_url,
            key_prefix=self._settings.broker_prefix,
        )
        signals.setup_logging.connect(_keep_our_logging, weak=False)
        signals.worker_ready.connect(self._on_ready, weak=False)
        worker = app.Worker(
            hostname=f"{self._settings.name}@gpu_worker",
            queues=[self._settings.queue],
            pool="threads",
            concurrency=THREADS_PER_SLOT * self._settings.slots,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            loglevel="WARNING",
            quiet=True,
        )
        worker.start()

    def _on_ready(self, **_: Any) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, *_: Any) -> None:
        from celery.worker import state

        state.should_stop = os.EX_OK
        self._drain_in_time()

    def _drain_in_time(self) -> None:
        if not any(thread.name == "drain" for thread in threading.enumerate()):
            threading.Thread(target=self._drain, name="drain", daemon=True).start()

    def _drain(self) -> None:
        if self._drained.is_set():
            return
        end = time.monotonic() + self._settings.grace_s
        self._close_gates()
        self._runner.wait_idle(self._settings.grace_s)
        self._runner.hand_back_all()
        self._is_flushed = self._link.close(max(FLUSH_S, end - time.monotonic()))
        self._files.clear_all()
        self._drained.set()
        time.sleep(FLUSH_S)
        logger.warning("something hangs: leaving without it")
        os._exit(0 if self._is_flushed else 1)

    def _watch(self) -> None:
        """End the process for a device run that cannot be ended otherwise."""
        while self._devices:
            time.sleep(WATCH_EVERY_S)
            if self._runner.fail_overdue():
                logger.error("a run on the device is past its limit: leaving")
                self._close_gates()
                self._runner.hand_back_all()
                self._link.close(FLUSH_S)
                self._exit(EXIT_OVERDUE)

    def _on_lost(self, job_ids: Sequence[str]) -> None:
        """From the thread that saw it: nothing more may be asked of this device."""
        logger.error("the device is lost: leaving")
        for key in self._devices:
            self._standing.is_in(key, "failed", "the device is lost")
        self._close_gates()
        self._runner.fail_lost(job_ids)
        self._runner.hand_back_all()
        self._link.close(FLUSH_S)
        self._exit(EXIT_LOST)

    def _unload(self, names: Sequence[str]) -> None:
        """In a thread of its own: it waits for what runs."""
        keys = [key for key in self._devices if "/".join(key) in names]
        for key in keys:
            threading.Thread(
                target=self._device.unload, args=[key], name="unload", daemon=True
            ).start()

    def _leave(self, *_: Any) -> None:
        """At once: an orderly end would wait for threads that libraries load with, or
        abort among them."""
        self._exit(0)

    def _exit(self, status: int) -> None:
        self._files.clear_all()
        os._exit(status)


def _keep_our_logging(**_: Any) -> None:
    """Celery sets up logging of its own unless somebody answers this signal."""


def _remote_batchers(
    specs: tuple[EngineSpec, ...], slots: int, standing: Standing
) -> dict[registry.Key, Batcher]:
    """One batcher for all engines that wait, with a lane per slot."""
    usable = (one for one in specs if one.unavailable in USABLE)
    homes = sorted({registry.home(registry.key_of(spec)) for spec in usable})
    keys = [one for one in homes if registry.engine_class(one).placement == "remote"]
    if not keys:
        return {}
    room = WaitingRoom(standing)
    batcher = Batcher("remote", [WaitingLane(room, keys) for _ in range(slots)])
    return dict.fromkeys(keys, batcher)


def _device_batchers(
    specs: tuple[EngineSpec, ...], device: Device
) -> dict[registry.Key, Batcher]:
    keys = [registry.key_of(spec) for spec in specs if not spec.unavailable]
    return {
        key: Batcher("/".join(key), [device.lane(key)])
        for key in keys
        if registry.engine_class(key).placement == "device"
    }
