"""The options of a cut-out as a client sends them: what is taken, what is refused by
name, and results that are no image."""

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from openapi_spec_validator import OpenAPIV31SpecValidator

from gpu_worker.engines.classical import Classical
from jobs import engines
from jobs.models import Job
from tests.jobs.api.conftest import (
    DATA_URL,
    PNG,
    Person,
    count_of,
    fields_of,
    make_image,
    succeed,
)
from tests.jobs.working import TestWorker


@pytest.fixture(autouse=True)
def real_engine(world: None) -> None:
    engines.announce([Classical.spec])


def test_defaults_are_those_that_change_nothing(owner: Person) -> None:
    assert owner.submit()["parameters"] == {
        "size": "auto",
        "format": "png",
        "channels": "rgba",
        "crop": False,
        "add_shadow": False,
    }


def test_background_image_is_an_input_of_its_own(owner: Person) -> None:
    owner.submit(bg_image=DATA_URL)
    row = Job.objects.get()
    assert [one["role"] for one in row.inputs] == ["image", "bg_image"]


def test_background_image_comes_by_form(owner: Person) -> None:
    answer = owner.form(
        operation="removebg",
        image=SimpleUploadedFile("photo.png", PNG, "image/png"),
        bg_image=SimpleUploadedFile("wall.jpg", make_image("JPEG"), "image/jpeg"),
        crop="true",
        crop_margin="10% 30px",
        add_shadow="true",
    )
    assert answer.status_code == 202, answer.content
    types = [one["content_type"] for one in Job.objects.get().inputs]
    assert types == ["image/png", "image/jpeg"]
    wanted = {"crop": True, "crop_margin": "10% 30px", "add_shadow": True}
    assert answer.json()["parameters"].items() >= wanted.items()


@pytest.mark.parametrize(
    ("parameters", "field", "code"),
    [
        ({"bg_color": "fff"}, "bg_color", "unknown"),
        ({"channels": "alpha"}, "channels", "choice"),
        ({"format": "zip"}, "format", "choice"),
    ],
)
def test_background_image_refuses_what_it_would_make_useless(
    owner: Person, parameters: dict[str, Any], field: str, code: str
) -> None:
    body = {"operation": "removebg", "image": DATA_URL, "parameters": parameters}
    assert owner.post("estimate", body).status_code == 200
    refused = {(f"parameters.{field}", code)}
    for path in ("jobs", "estimate"):
        assert fields_of(owner.post(path, body | {"bg_image": DATA_URL})) == refused
    assert count_of("jobs_job") == 0


@pytest.mark.parametrize(
    ("parameters", "field", "code"),
    [
        ({"crop_margin": "10%"}, "crop_margin", "unknown"),
        ({"crop": True, "crop_margin": "60%"}, "crop_margin", "format"),
        ({"crop": True, "scale": "50%"}, "scale", "unknown"),
        ({"crop": True, "position": "center"}, "position", "unknown"),
        ({"channels": "alpha", "bg_color": "fff"}, "bg_color", "unknown"),
        ({"channels": "alpha", "add_shadow": True}, "add_shadow", "choice"),
        ({"channels": "alpha", "format": "zip"}, "format", "choice"),
        ({"format": "zip", "bg_color": "red"}, "bg_color", "unknown"),
        ({"bg_color": "redd"}, "bg_color", "invalid"),
        ({"roi": "0 0 1 1"}, "roi", "format"),
        ({"bg_image": DATA_URL}, "bg_image", "unknown"),
        ({"background_color": "#fff"}, "background_color", "unknown"),
    ],
)
def test_combinations_that_make_no_sense_are_refused_by_name(
    owner: Person, parameters: dict[str, Any], field: str, code: str
) -> None:
    body = {"operation": "removebg", "image": DATA_URL, "parameters": parameters}
    assert fields_of(owner.post("jobs", body)) == {(f"parameters.{field}", code)}


def test_schema_of_the_real_engine_is_sound(nobody: Person) -> None:
    document = nobody.get("schema").json()
    OpenAPIV31SpecValidator(document).validate()


def test_archive_is_served_as_one_and_is_no_image_for_another_job(
    owner: Person, worker: TestWorker
) -> None:
    job = owner.submit(parameters={"format": "zip"})
    succeed(worker, job["id"])
    row = Job.objects.get()
    row.results[0]["content_type"] = "application/zip"
    row.save()
    answer = owner.get(f"jobs/{job['id']}/result")
    assert b"".join(answer.streaming_content) == PNG
    assert answer["Content-Type"] == "application/zip"
    assert answer["Content-Disposition"].endswith('.zip"')
    body = {"operation": "removebg", "image": f"job:{job['id']}"}
    assert fields_of(owner.post("jobs", body)) == {("image", "no_image")}
