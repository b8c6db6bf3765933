"""The tests that every engine passes: subclass `EngineContract` as `Test…`.

They need pytest, NumPy and Pillow, no platform and no GPU. What an engine cannot
promise (a hosted one is not deterministic) its author says by the attributes.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from gpu_worker.contract import from_json, to_json
from gpu_worker.errors import Stopped, WorkerError
from gpu_worker.testing.driving import (
    Case,
    Driver,
    Outcome,
    RecordingHooks,
    pixels_of,
    with_defaults,
)

BROKEN = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR and then nothing that is one"
HEAVY = (
    "accelerate",
    "cv2",
    "diffusers",
    "numpy",
    "onnxruntime",
    "spandrel",
    "torch",
    "torchvision",
    "transformers",
    "ultralytics",
)
WARM_RUNS = 5


class EngineContract:
    """`cases` are at least two jobs with different results, small ones, of which a
    batch may be made.

    `tolerance`: by how much a pixel (0 to 255) may differ between a run alone and one
    in a batch. `seeded`: the parameter `seed` decides the result. `deterministic`: the
    same job twice is the same file. `most_growth_bytes`: what `runs` runs may leave in
    memory. `added`: what the platform adds to the parameters, beside the schema.
    `broken`: a job whose input cannot be read. `sizes`: the results' widths and
    heights, by case, where they are known.
    """

    __test__ = False

    engine: ClassVar[type[Any] | str]
    cases: ClassVar[tuple[Case, ...]]
    added: ClassVar[dict[str, Any]] = {}
    broken: ClassVar[Case | None] = None
    sizes: ClassVar[tuple[tuple[int, int], ...]] = ()
    tolerance: ClassVar[int] = 1
    seeded: ClassVar[bool] = False
    deterministic: ClassVar[bool] = True
    runs: ClassVar[int] = 50
    most_growth_bytes: ClassVar[int] = 30 * 10**6

    def __init_subclass__(cls, **rest: Any) -> None:
        super().__init_subclass__(**rest)
        cls.__test__ = cls.__name__.startswith("Test")

    @pytest.fixture(scope="class")
    @classmethod
    def driver(cls) -> Iterator[Driver]:
        """The engine, loaded once for all tests of the class."""
        driver = Driver(cls.engine, added=cls.added)
        yield driver
        driver.close()

    # Before it is loaded

    def test_spec_survives_the_wire(self) -> None:
        spec = _class_of(type(self).engine).spec
        assert from_json(type(spec), json.loads(json.dumps(to_json(spec)))) == spec
        assert spec.operation and spec.engine and spec.queue
        assert spec.batch_size >= 1 and spec.results >= 1 and spec.run_limit_s > 0

    def test_parameters_are_a_schema_and_the_cases_keep_it(self) -> None:
        validators = pytest.importorskip("jsonschema.validators")
        spec = _class_of(type(self).engine).spec
        checker = validators.Draft202012Validator
        checker.check_schema(spec.parameters)
        for case in self.cases:
            checker(spec.parameters).validate(with_defaults(spec, case.parameters))

    def test_worker_reads_the_spec_without_heavy_imports(self) -> None:
        name = _name_of(type(self).engine)
        done = subprocess.run(
            [sys.executable, "-c", _LIGHT, name, *HEAVY],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr

    # One job

    def test_results_are_the_files_that_they_say(self, driver: Driver) -> None:
        for case in self.cases:
            [files] = driver.files(case)
            assert 1 <= len(files) <= driver.spec.results
            for file in files:
                height, width = pixels_of(file).shape[:2]
                assert (file.width_px, file.height_px) == (width, height)
                assert file.content_type.startswith("image/")
                json.dumps(file.details, allow_nan=False)

    def test_results_have_the_sizes_that_were_asked_for(self, driver: Driver) -> None:
        for case, size in zip(self.cases, self.sizes, strict=False):
            [files] = driver.files(case)
            assert {(file.width_px, file.height_px) for file in files} == {size}

    def test_progress_goes_forward_to_its_total(self, driver: Driver) -> None:
        hooks = RecordingHooks()
        driver.run(self.cases[0], hooks=hooks)
        steps = [step for _, step, _ in hooks.heard]
        assert steps == sorted(steps)
        assert all(0 <= step <= total for _, step, total in hooks.heard)

    def test_inputs_are_left_as_they_are(self, driver: Driver) -> None:
        item = driver.item(self.cases[0])
        before = [one.path.read_bytes() for one in item.inputs]
        driver.outcomes([item])
        assert [one.path.read_bytes() for one in item.inputs] == before

    def test_same_job_twice_is_the_same_result(self, driver: Driver) -> None:
        if not self.deterministic:
            pytest.skip("the engine does not promise it")
        first, second = (driver.files(self.cases[0])[0] for _ in range(2))
        assert [one.data for one in first] == [one.data for one in second]

    def test_seed_decides_the_result(self, driver: Driver) -> None:
        if not self.seeded:
            pytest.skip("the engine takes no seed")
        case = self.cases[0]
        one, same, other = (
            driver.files(
                Case(
                    parameters=case.parameters | {"seed": seed},
                    images=case.images,
                    roles=case.roles,
                )
            )[0][0].data
            for seed in (7, 7, 8)
        )
        assert one == same != other

    # Many jobs

    def test_batch_is_as_the_jobs_alone_and_in_their_order(
        self, driver: Driver
    ) -> None:
        together = self._batch(driver)
        alone = [driver.files(case)[0] for case in together]
        batched = driver.files(*together)
        for ours, theirs in zip(batched, alone, strict=True):
            assert len(ours) == len(theirs)
            for one, other in zip(ours, theirs, strict=True):
                assert _difference(one, other) <= self.tolerance

    def test_bad_job_fails_alone(self, driver: Driver) -> None:
        bad = self._bad(driver)
        if bad is None:
            pytest.skip("the engine takes no image")
        cases = self._batch(driver)[: max(1, driver.spec.batch_size - 1)]
        if driver.spec.batch_size == 1:
            assert isinstance(_alone(driver, bad), WorkerError)
            return
        outcomes = driver.run(bad, *cases)
        assert isinstance(outcomes[0], WorkerError)
        for outcome in outcomes[1:]:
            assert not isinstance(outcome, WorkerError), outcome

    def test_cancelled_run_stops_within_a_step(self, driver: Driver) -> None:
        if driver.kind.placement == "child":
            pytest.skip("a child process is killed")
        full, hooks = RecordingHooks(), RecordingHooks(cancel_after=1)
        driver.run(self.cases[0], hooks=full)
        if len(full.heard) <= 2:
            pytest.skip("the engine works in one step")
        outcome = _cancelled(driver, self.cases[0], hooks)
        assert isinstance(outcome, Stopped)
        assert len(hooks.heard) <= 2
        driver.files(self.cases[0])  # and the next one runs

    def test_runs_leave_nothing_in_memory(self, driver: Driver) -> None:
        for _ in range(WARM_RUNS):
            driver.run(self.cases[0])
        gc.collect()
        before = _resident_bytes()
        for number in range(self.runs):
            driver.run(self.cases[number % len(self.cases)])
        gc.collect()
        assert _resident_bytes() - before < self.most_growth_bytes

    def test_unloaded_engine_loads_again(self, driver: Driver) -> None:
        if not hasattr(driver.engine, "unload"):
            pytest.skip("the engine holds no device")
        before = driver.files(self.cases[0])[0]
        driver.engine.unload()
        driver.load()
        after = driver.files(self.cases[0])[0]
        if self.deterministic:
            assert [one.data for one in before] == [one.data for one in after]

    def _batch(self, driver: Driver) -> list[Case]:
        """As many cases as share a batch with the first one."""
        keys = [_key(driver, case) for case in self.cases]
        same = [
            case
            for case, key in zip(self.cases, keys, strict=True)
            if key is not None and key == keys[0]
        ]
        return (same or [self.cases[0]])[: driver.spec.batch_size]

    def _bad(self, driver: Driver) -> Case | None:
        if self.broken is not None or not driver.spec.images[1]:
            return self.broken
        first = self.cases[0]
        if not first.images:
            return None
        return Case(parameters=first.parameters, images=(BROKEN,), roles=first.roles)


_LIGHT = """
import sys
from importlib import import_module

name, *heavy = sys.argv[1:]
sys.modules.update(dict.fromkeys(heavy))  # None there makes an import fail
module, _, kind = name.partition(":")
engine = getattr(import_module(module), kind)
assert engine.spec.operation and engine.placement in ("child", "device", "remote")
if hasattr(engine, "available"):
    engine.available()
"""


def _alone(driver: Driver, case: Case) -> Outcome:
    """What comes of one job; an error for its batch is its own."""
    try:
        [outcome] = driver.run(case)
    except Exception as error:
        return error if isinstance(error, WorkerError) else WorkerError(str(error))
    return outcome


def _cancelled(driver: Driver, case: Case, hooks: RecordingHooks) -> Outcome:
    try:
        [outcome] = driver.run(case, hooks=hooks)
    except WorkerError as error:
        return error
    return outcome


def _key(driver: Driver, case: Case) -> Any:
    if not hasattr(driver.kind, "batch_key"):
        return ()
    item = driver.item(case)
    decoded = driver._decoded(item)
    return driver.kind.batch_key(decoded)


def _difference(one: Any, other: Any) -> int:
    ours, theirs = pixels_of(one).astype(int), pixels_of(other).astype(int)
    assert ours.shape == theirs.shape
    return int(abs(ours - theirs).max(initial=0))


def _resident_bytes() -> int:
    import resource

    with open("/proc/self/statm", "rb") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


def _class_of(engine: type[Any] | str) -> Any:
    if not isinstance(engine, str):
        return engine
    from importlib import import_module

    module, _, kind = engine.partition(":")
    return getattr(import_module(module), kind)


def _name_of(engine: type[Any] | str) -> str:
    if isinstance(engine, str):
        return engine
    return f"{engine.__module__}:{engine.__qualname__}"
