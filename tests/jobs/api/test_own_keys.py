"""A provider's key that comes with a request: what becomes of it in the platform."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.db import IntegrityError, connection, transaction
from nacl.public import PrivateKey, SealedBox
from pytest_django.fixtures import Settings

from billing import prices
from billing.models import Price
from gpu_worker.contract import SANDBOX, EngineSpec
from jobs import engines, lifecycle
from jobs.errors import BadFields, OwnKeyNeeded
from jobs.models import Job, JobEvent
from jobs.requests import again, orders, sealing
from jobs.requests.orders import Order, Orderer
from tests.jobs.api.conftest import DATA_URL, PARAMETERS, Person, person
from tests.jobs.working import (
    TestWorker,
    failure,
    lease_ends,
    run_of,
    success,
    user_with,
)

PRIVATE = PrivateKey.generate()
PUBLIC = base64.b64encode(bytes(PRIVATE.public_key)).decode()
KEY = "sk-of-the-client-4711"
OWN = {"X-Fal-Key": KEY}


def hosted(engine: str, provider: str, **rest: Any) -> EngineSpec:
    return EngineSpec(
        operation="edit",
        engine=engine,
        queue="cpu",
        parameters=PARAMETERS,
        provider=provider,
        **({"sealing_key": PUBLIC} | rest),
    )


SPECS = [
    hosted("fal:", "fal"),
    hosted("google", "google", aliases=("nano-banana",)),
    hosted("stability", "stability", sealing_key=""),
    hosted("openai", "openai", unavailable="provider_key_missing"),
]


@pytest.fixture(autouse=True)
def _hosted(settings: Settings, world: None) -> None:
    names = ("fal:", "google", "stability", "openai")
    settings.CHOOSABLE_ENGINES = [f"edit/{name}" for name in names]
    engines.announce(SPECS)
    Price.objects.update_or_create(
        operation="edit", engine="", own_key=True, defaults={"credits": "0.0050"}
    )
    prices.forget()


@pytest.fixture
def tester() -> Person:
    return person(user_with("5"), test=True)


def body(engine: str = "fal:a/model", **rest: Any) -> dict[str, Any]:
    return {"operation": "edit", "engine": engine, "image": DATA_URL} | rest


def made(owner: Person, headers: dict[str, str] = OWN, **rest: Any) -> UUID:
    answer = owner.post("jobs", body(**rest), **headers)
    assert answer.status_code == 202, answer.content
    return UUID(answer.json()["id"])


def test_key_is_kept_sealed_and_costs_its_own_price(owner: Person) -> None:
    job = Job.objects.get(pk=made(owner))
    assert (job.own_key, str(job.price)) == (True, "0.0050")
    assert job.sealed_key
    opened = SealedBox(PRIVATE).decrypt(base64.b64decode(job.sealed_key))
    assert json.loads(opened) == {"job": str(job.pk), "provider": "fal", "key": KEY}
    assert KEY not in job.sealed_key


def test_key_is_sealed_differently_for_each_job(owner: Person) -> None:
    made(owner), made(owner)
    first, second = Job.objects.values_list("sealed_key", flat=True)
    assert first != second


def test_key_goes_sealed_with_the_grant_and_no_further(owner: Person) -> None:
    job_id = made(owner)
    worker = TestWorker().hello()
    answer = worker.say(claims=(run_of(job_id),))
    [grant] = answer.grants
    assert grant.granted
    assert grant.sealed_key == Job.objects.get(pk=job_id).sealed_key
    shown = owner.get(f"jobs/{job_id}").content.decode()
    assert grant.sealed_key not in shown
    assert "sealed" not in shown


def ended_well(worker: TestWorker, job_id: UUID) -> None:
    worker.report(success(worker.start(job_id)))


def ended_badly(worker: TestWorker, job_id: UUID) -> None:
    worker.report(failure(worker.start(job_id)))


def cancelled(worker: TestWorker, job_id: UUID) -> None:
    job = Job.objects.get(pk=job_id)
    lifecycle.cancel(job_id, user_id=job.user_id, test=False)


def expired(worker: TestWorker, job_id: UUID) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE jobs_job SET start_by = now() - interval '1 s'")
    with transaction.atomic():
        lifecycle.expire_many([str(job_id)], wait=True)


def lost_for_good(worker: TestWorker, job_id: UUID) -> None:
    for attempt in (1, 2, 3, 4):
        if Job.objects.get(pk=job_id).status == "queued":
            worker.start(job_id, attempt)
            lease_ends(job_id)
            with transaction.atomic():
                lifecycle.lose_many([str(job_id)], wait=True)


def input_missing(worker: TestWorker, job_id: UUID) -> None:
    Job.objects.filter(pk=job_id).update(waiting_fetches=1)
    fault = lifecycle.Fault(job_id=job_id, code="fetch_failed", message="No.")
    with transaction.atomic():
        lifecycle.fail_waiting_many([fault], wait=True)


@pytest.mark.parametrize(
    "end",
    [ended_well, ended_badly, cancelled, expired, lost_for_good, input_missing],
)
def test_every_end_takes_the_key_with_it(
    owner: Person, end: Callable[[TestWorker, UUID], None]
) -> None:
    job_id = made(owner)
    end(TestWorker().hello(), job_id)
    job = Job.objects.get(pk=job_id)
    assert job.ended_at is not None
    assert (job.own_key, job.sealed_key) == (True, None)


def test_key_stays_for_another_try(owner: Person) -> None:
    job_id = made(owner)
    worker = TestWorker().hello()
    worker.report(failure(worker.start(job_id), retryable=True))
    assert Job.objects.get(pk=job_id).sealed_key
    [grant] = worker.say(claims=(run_of(job_id, 2),)).grants
    assert grant.sealed_key


def test_database_refuses_a_key_beside_an_ended_job(owner: Person) -> None:
    job_id = made(owner)
    ended_well(TestWorker().hello(), job_id)
    with pytest.raises(IntegrityError), transaction.atomic():
        Job.objects.filter(pk=job_id).update(sealed_key="left behind")


def test_key_is_in_no_event_and_no_text_of_ours(owner: Person) -> None:
    job_id = made(owner)
    told = JobEvent.objects.filter(job_id=job_id).values_list("type", "reason")
    assert list(told) == [("queued", "")]
    orderer = Orderer(user_id=1, test=False, provider_keys={"fal": KEY})
    order = Order(operation="edit", engine="fal:a/model")
    checked = orders.check(
        order, test=False, images_optional=True, own_keys=orderer.provider_keys
    )
    assert checked.own_key
    assert KEY not in repr(orderer)
    item = orders._submission(order, checked, orderer, job_id=job_id)
    assert item.sealed_key and item.sealed_key not in repr(item)


def test_key_is_not_in_the_digest(owner: Person) -> None:
    headers = [{"Idempotency-Key": "once", "X-Fal-Key": key} for key in ("a-1", "b-2")]
    answers = [owner.post("jobs", body(), **one) for one in headers]
    assert [one.status_code for one in answers] == [202, 202]
    assert answers[0].json()["id"] == answers[1].json()["id"]


def test_key_for_another_provider_is_of_no_use_and_not_kept(owner: Person) -> None:
    job = Job.objects.get(pk=made(owner, engine="google"))
    assert (job.own_key, job.sealed_key, str(job.price)) == (False, None, "0.0100")


def test_engine_without_the_owners_key_serves_who_brings_one(owner: Person) -> None:
    refused = owner.post("jobs", body("openai"))
    assert refused.status_code == 503
    assert refused.json()["code"] == "engine_unavailable"
    made(owner, {"X-OpenAI-Api-Key": KEY}, engine="openai")


def test_engine_whose_workers_cannot_open_keys_refuses_them(owner: Person) -> None:
    answer = owner.post("jobs", body("stability"), **{"X-Stability-Api-Key": KEY})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "X-Stability-Api-Key"
    assert KEY not in answer.content.decode()


def test_key_is_sealed_to_no_stranger(owner: Person, settings: Settings) -> None:
    """Any worker may announce an engine; where public keys are pinned, theirs count."""
    settings.SEALING_PUBLIC_KEYS = ["AAAA"]
    answer = owner.post("jobs", body(), **OWN)
    assert answer.status_code == 422
    known = owner.get("providers").json()["providers"]
    assert {one["own_key"] for one in known} == {None}
    settings.SEALING_PUBLIC_KEYS = ["AAAA", PUBLIC]
    made(owner)


def test_test_key_uses_no_key_of_a_provider(owner: Person, tester: Person) -> None:
    sandbox = EngineSpec(
        operation="edit", engine=SANDBOX, queue="cpu", parameters=PARAMETERS
    )
    engines.announce([sandbox])
    answer = tester.post("jobs", body(), **OWN)
    assert answer.status_code == 202, answer.content
    job = Job.objects.get(pk=answer.json()["id"])
    assert (job.own_key, job.sealed_key) == (False, None)


def test_alias_and_path_name_the_engine(owner: Person) -> None:
    names = {"nano-banana": "google", "fal:a/b/c-1.5_x": "fal:a/b/c-1.5_x"}
    for asked, engine in names.items():
        assert Job.objects.get(pk=made(owner, {}, engine=asked)).engine == engine


@pytest.mark.parametrize(
    "name",
    ["fal:", "fal:a", "fal:../a", "fal:a/../b", "fal:/a", "fal:a/b\n", "fal:a/b?c=d",
     "fal:" + "a/" * 5 + "a" * 80, "gal:a/b", "FAL:a/b", "fal:a/b#c", "fal:a//b"],
)  # fmt: skip
def test_name_that_is_no_path_is_refused(owner: Person, name: str) -> None:
    answer = owner.post("jobs", body(name))
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "engine"


def test_providers_tell_how_they_are_paid(owner: Person) -> None:
    known = owner.get("providers").json()
    assert {"google", "nano-banana"} <= {*known["available"]}
    by_name = {one["name"]: one for one in known["providers"]}
    assert by_name["google"]["own_key"] == {
        "headers": ["X-Google-Api-Key", "X-Gemini-Api-Key"],
        "price": "0.0050",
    }
    assert by_name["stability"]["own_key"] is None


def test_job_is_not_run_again_at_the_expense_of_the_house(owner: Person) -> None:
    job_id = made(owner)
    ended_badly(TestWorker().hello(), job_id)
    assert owner.user is not None
    orderer = Orderer(user_id=owner.user.pk, test=False)
    with pytest.raises(OwnKeyNeeded):
        again.run_again(Job.objects.get(pk=job_id), orderer)


@pytest.mark.parametrize("key", ["with blank", "ümlaut", "x" * 501, "tab\there"])
def test_header_that_is_no_key_is_refused_unseen(key: str) -> None:
    with pytest.raises(BadFields) as refused:
        sealing.keys_of({"HTTP_X_FAL_KEY": key})
    assert key not in str(refused.value.errors)


def test_blank_header_is_none() -> None:
    assert sealing.keys_of({"HTTP_X_FAL_KEY": " "}) == {}
