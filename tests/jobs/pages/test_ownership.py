"""Pages show their owner's things to their owner, and to nobody else."""

from __future__ import annotations

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import User
from jobs.models import Job, WebhookEndpoint
from jobs.webhooks import deliveries, endpoints
from jobs.webhooks.endpoints import Owner
from tests.jobs.pages.conftest import BACKEND, Visitor

OPEN = ["/dashboard", "/playground", "/jobs", "/webhooks", "/webhooks/secret"]


@pytest.fixture
def endpoint(owner: Visitor) -> WebhookEndpoint:
    assert owner.user is not None
    return endpoints.create(
        Owner(user_id=owner.user.pk, test=False),
        url="https://example.com/hook",
        events=["job.succeeded"],
    )


@pytest.mark.parametrize("path", [*OPEN, "/credits", "/credits.csv"])
def test_nobody_is_sent_to_sign_in_and_back(nobody: Visitor, path: str) -> None:
    answer = nobody.get(path)
    assert answer.status_code == 302
    assert answer["Location"] == f"/sign-in?next={path}"


@pytest.mark.parametrize("path", OPEN)
def test_every_page_is_there_for_a_newcomer(owner: Visitor, path: str) -> None:
    assert "<h1" in owner.text(path)


@pytest.mark.parametrize(
    "below",
    [
        "",
        "/events",
        "/result/0",
        "/inputs/0",
        "/0/thumb",
        "/0/preview",
        "/input/preview",
    ],
)
def test_a_strangers_job_is_not_there(
    owner: Visitor, stranger: Visitor, done: Job, below: str
) -> None:
    assert stranger.status(f"/jobs/{done.pk}{below}") == 404
    assert owner.status(f"/jobs/{done.pk}{below}") == 200


@pytest.mark.parametrize("deed", ["cancel", "again", "erase"])
def test_a_strangers_job_cannot_be_touched(
    stranger: Visitor, done: Job, deed: str
) -> None:
    assert stranger.press(f"/jobs/{done.pk}/{deed}").status_code == 404
    done.refresh_from_db()
    assert (done.status, done.erased_at) == ("succeeded", None)
    assert Job.objects.count() == 1


@pytest.mark.parametrize("deed", ["ping", "rotate", "on", "off", "remove"])
def test_a_strangers_endpoint_cannot_be_touched(
    stranger: Visitor, endpoint: WebhookEndpoint, deed: str
) -> None:
    assert stranger.press(f"/webhooks/{endpoint.pk}/{deed}").status_code == 404
    now = WebhookEndpoint.objects.get()
    assert (now.generation, now.disabled_at) == (1, None)


def test_a_strangers_endpoint_and_its_secret_are_not_shown(
    owner: Visitor, stranger: Visitor, endpoint: WebhookEndpoint
) -> None:
    assert stranger.get(f"/webhooks/{endpoint.pk}").status_code == 404
    assert endpoints.secret_of(endpoint) in owner.text(f"/webhooks/{endpoint.pk}")


def test_a_strangers_delivery_is_not_there(
    owner: Visitor, stranger: Visitor, endpoint: WebhookEndpoint
) -> None:
    made = deliveries.ping(Owner(user_id=endpoint.user_id, test=False), endpoint.pk)
    path = f"/webhooks/deliveries/{made.pk}"
    assert stranger.get(path).status_code == 404
    assert stranger.press(f"{path}/replay").status_code == 404
    assert owner.get(path).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/jobs/nonsense", "/jobs/0192f000-0000-7000-8000-000000000000", "/webhooks/x"],
)
def test_what_cannot_be_is_a_page_that_says_so(owner: Visitor, path: str) -> None:
    answer = owner.get(path)
    assert answer.status_code == 404
    assert "text/html" in answer["Content-Type"]


def test_a_strangers_picture_cannot_be_worked_on(stranger: Visitor, done: Job) -> None:
    body = {"operation": "removebg", "image": f"job:{done.pk}"}
    assert stranger.ask("/playground/jobs", body).status_code == 422


def test_a_suspended_person_is_out_at_once(owner: Visitor) -> None:
    assert owner.user is not None
    User.objects.filter(pk=owner.user.pk).update(suspended_at=timezone.now())
    assert owner.get("/dashboard").status_code in (302, 403)
    body = {"operation": "removebg", "image": "https://example.com/a.png"}
    assert owner.ask("/playground/jobs", body).status_code in (401, 403)
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    "path", ["/playground/jobs", "/playground/uploads", "/playground/estimate"]
)
def test_a_script_that_is_signed_out_gets_a_problem(nobody: Visitor, path: str) -> None:
    answer = nobody.ask(path, {})
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


def test_other_sites_can_press_no_button(owner: Visitor, done: Job) -> None:
    client = Client(enforce_csrf_checks=True)
    assert owner.user is not None
    client.force_login(owner.user, backend=BACKEND)
    assert client.post(f"/jobs/{done.pk}/erase").status_code == 403
    body = '{"operation": "removebg", "image": "https://example.com/a.png"}'
    answer = client.post("/playground/jobs", body, content_type="application/json")
    assert answer.status_code == 403
    assert Job.objects.count() == 1
