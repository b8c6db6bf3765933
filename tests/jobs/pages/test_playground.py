"""What the playground's script asks for: uploads, prices, jobs; and code to copy."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from billing import prices
from billing.models import Price
from jobs import engines
from jobs.models import Job, Upload
from jobs.pages import requests
from jobs.pages.requests import Asked, Image
from tests.jobs.api.test_own_keys import KEY, hosted
from tests.jobs.pages.conftest import DATA_URL, PNG, Visitor


def estimate(owner: Visitor, mode: str = "live", **body: Any) -> Any:
    return owner.ask(f"/playground/estimate?mode={mode}", body)


def test_the_page_carries_the_operations_with_their_schemas(owner: Visitor) -> None:
    text = owner.text("/playground")
    found = re.search(
        r'<script id="setup" type="application/json">(.*?)</script>', text
    )
    assert found is not None
    setup = json.loads(found[1])
    first = setup["operations"][0]
    assert (first["name"], first["title"]) == ("removebg", "Remove background")
    [engine] = first["engines"]
    assert engine["parameters"]["properties"]["size"]["maximum"] == 9


def test_a_picture_is_sent_and_becomes_a_job(owner: Visitor) -> None:
    body = {"content_type": "image/png", "size_bytes": len(PNG)}
    announced = owner.ask("/playground/uploads", body).json()
    url = announced["send"]["url"]
    assert url.startswith("/uploads/")
    sent = owner.client.put(url, PNG, content_type="image/png")
    assert sent.status_code == 200
    job = owner.submit(image=announced["reference"])
    assert job.inputs[0]["sha256"] == Upload.objects.get().sha256


def test_the_price_is_said_before_anything_is_done(owner: Visitor) -> None:
    answer = estimate(owner, operation="removebg", files={"image": "cat.jpg"}).json()
    assert (answer["price"], answer["available"]) == ("0.0100", "5.0000")
    assert answer["is_enough"] is True
    assert "image=@cat.jpg" in answer["requests"]["curl"]
    assert not Job.objects.exists()


def test_a_wrong_parameter_is_named_before_anything_is_done(owner: Visitor) -> None:
    answer = estimate(owner, operation="removebg", parameters={"size": 12})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "parameters.size"


def test_a_second_press_under_one_key_is_one_job(owner: Visitor) -> None:
    body = {"operation": "removebg", "image": DATA_URL}
    headers = {"Idempotency-Key": "press-1"}
    ids = {
        owner.ask("/playground/jobs", body, **headers).json()["id"] for _ in range(2)
    }
    assert len(ids) == 1 and Job.objects.count() == 1


def test_a_job_without_the_credits_is_refused(owner: Visitor) -> None:
    from billing import ledger

    assert owner.user is not None
    ledger.adjust(owner.user.pk, -ledger.balance(owner.user.pk)[0], "all of it")
    body = {"operation": "removebg", "image": DATA_URL}
    answer = owner.ask("/playground/jobs", body)
    assert (answer.status_code, answer.json()["code"]) == (402, "insufficient_credits")


@pytest.fixture
def _hosted(settings: Settings) -> None:
    settings.CHOOSABLE_ENGINES = ["edit/fal:", "edit/google"]
    engines.announce([hosted("fal:a/model", "fal"), hosted("google", "google")])
    Price.objects.update_or_create(
        operation="edit", engine="", own_key=True, defaults={"credits": "0.0050"}
    )
    prices.forget()


PAID = {"operation": "edit", "engine": "fal:a/model", "image": DATA_URL}


@pytest.mark.usefixtures("_hosted")
def test_an_own_key_has_its_price_and_its_line_for_a_program(owner: Visitor) -> None:
    plain, paid = (estimate(owner, **PAID, own_key=own) for own in (False, True))
    assert (plain.json()["price"], paid.json()["price"]) == ("0.0100", "0.0050")
    assert "$FAL_KEY" not in plain.json()["requests"]["curl"]
    assert '-H "X-Fal-Key: $FAL_KEY"' in paid.json()["requests"]["curl"]
    python = paid.json()["requests"]["python"]
    assert '"X-Fal-Key": os.environ["FAL_KEY"],' in python
    compile(python, "shown", "exec")


@pytest.mark.usefixtures("_hosted")
def test_an_own_key_pays_for_the_job_and_is_shown_nowhere(owner: Visitor) -> None:
    headers = {"X-Fal-Key": KEY, "Idempotency-Key": "press-1"}
    answer = owner.ask("/playground/jobs", PAID, **headers)
    assert answer.status_code == 202 and KEY.encode() not in answer.content
    job = Job.objects.get()
    assert job.own_key and job.sealed_key and KEY not in job.sealed_key
    page = owner.text(f"/jobs/{job.pk}")
    assert "X-Fal-Key: $FAL_KEY" in page and KEY not in page


@pytest.mark.usefixtures("_hosted")
def test_what_is_no_key_is_refused_without_being_said(owner: Visitor) -> None:
    answer = owner.ask("/playground/jobs", PAID, **{"X-Fal-Key": "my secret key"})
    assert answer.status_code == 422 and b"secret" not in answer.content
    assert answer.json()["errors"][0]["field"] == "X-Fal-Key"
    assert not Job.objects.exists()


FILE = Image(role="image", name="it's.jpg")
ASKED = [
    Asked(operation="removebg", images=[FILE]),
    Asked(operation="removebg", parameters={"note": "it's $HOME"}, images=[FILE]),
    Asked(operation="generate", engine="fal:x", parameters={"prompt": "a\n'b'"}),
    Asked(
        operation="edit",
        images=[Image(role="image", place="https://example.com/a.png"), FILE],
        then=[{"operation": "resize", "parameters": {"width": 9}}],
    ),
]


@pytest.mark.parametrize("asked", ASKED, ids=lambda one: one.operation)
def test_the_code_for_python_is_python(asked: Asked) -> None:
    compile(requests.python(asked), "shown", "exec")


@pytest.mark.parametrize("asked", ASKED[:3], ids=lambda one: one.operation)
def test_the_line_for_curl_means_the_same_to_a_shell(asked: Asked) -> None:
    """Quotes and dollars of parameters reach the program as they are."""
    line = requests.curl(asked).replace("curl ", f"{sys.executable} -c '{ECHO}' ", 1)
    done = subprocess.run(
        ["/bin/sh", "-c", line], capture_output=True, text=True, check=True
    )
    words = json.loads(done.stdout)
    told = "".join(words)
    for value in asked.parameters.values():
        assert json.dumps(value) in told or value in told


ECHO = "import json,sys; print(json.dumps(sys.argv[1:]))"
