"""The OpenAPI document is sound and true, and its page needs nobody else."""

import re
from typing import Any

import jsonschema
import pytest
from django.contrib.staticfiles import finders
from django.urls import get_resolver
from openapi_spec_validator import OpenAPIV31SpecValidator

from jobs import engines
from jobs.models import Engine
from tests.jobs.api.conftest import DATA_URL, Person, succeed
from tests.jobs.working import TestWorker


@pytest.fixture
def document(nobody: Person) -> dict[str, Any]:
    found: dict[str, Any] = nobody.get("schema").json()
    return found


def test_schema_is_sound(document: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(document).validate()


def test_schema_is_sound_before_anything_was_announced(nobody: Person) -> None:
    Engine.objects.all().delete()
    engines.forget()
    OpenAPIV31SpecValidator(nobody.get("schema").json()).validate()


def test_schema_has_every_path(document: dict[str, Any]) -> None:
    (api,) = [p for p in get_resolver().url_patterns if str(p.pattern) == "api/v1/"]
    routes = {
        "/" + re.sub(r"<\w+:(\w+)>", r"{\1}", str(pattern.pattern))
        for pattern in api.url_patterns  # type: ignore[union-attr]
    }
    assert routes == set(document["paths"])


def test_schema_has_the_parameters_of_announced_engines(
    document: dict[str, Any],
) -> None:
    body = document["paths"]["/jobs"]["post"]["requestBody"]["content"]
    shapes = body["application/json"]["schema"]["oneOf"]
    removebg = next(shape for shape in shapes if shape["title"] == "removebg")
    parameters = removebg["properties"]["parameters"]
    assert parameters["properties"]["size"]["maximum"] == 9


def check(document: dict[str, Any], name: str, value: Any) -> None:
    schema = {"$ref": f"#/components/schemas/{name}"}
    whole = schema | {"components": document["components"]}
    jsonschema.validate(value, whole, jsonschema.Draft202012Validator)


def test_answers_are_as_the_schema_says(
    document: dict[str, Any], owner: Person, worker: TestWorker
) -> None:
    job = owner.submit()
    check(document, "Job", job)
    succeed(worker, job["id"])
    check(document, "Job", owner.get(f"jobs/{job['id']}").json())
    check(document, "Jobs", owner.get("jobs").json())
    check(document, "Account", owner.get("account").json())
    check(document, "Ledger", owner.get("ledger").json())
    check(document, "Operations", owner.get("operations").json())
    estimate = {"operation": "removebg", "image": DATA_URL}
    check(document, "Estimate", owner.post("estimate", estimate).json())
    check(document, "Problem", owner.post("jobs", {}).json())


@pytest.mark.parametrize(("path", "has_image"), [("jobs", True), ("estimate", False)])
def test_only_what_makes_a_job_needs_its_image(
    document: dict[str, Any], owner: Person, path: str, *, has_image: bool
) -> None:
    body = document["paths"][f"/{path}"]["post"]["requestBody"]["content"]
    for kind in ("application/json", "multipart/form-data"):
        shapes = body[kind]["schema"]["oneOf"]
        [shape] = [one for one in shapes if one["title"] == "removebg"]
        assert ("image" in shape["required"]) is has_image
    asked = owner.post(path, {"operation": "removebg"})
    assert asked.status_code == (422 if has_image else 200)


def test_docs_page_loads_nothing_from_elsewhere_and_has_no_inline_script(
    nobody: Person,
) -> None:
    answer = nobody.get("docs")
    page = answer.content.decode()
    assert answer.status_code == 200
    assert "script-src 'self'" in answer["Content-Security-Policy"]
    assert "http://" not in page and "https://" not in page
    scripts = re.findall(r"<script([^>]*)>(.*?)</script>", page, re.DOTALL)
    assert scripts and all("src=" in tag and not body for tag, body in scripts)


def test_docs_page_files_are_ours(nobody: Person) -> None:
    page = nobody.get("docs").content.decode()
    files = re.findall(r'(?:src|href)="/static/([^"]+)"', page)
    assert len(files) == 4
    assert all(finders.find(name) for name in files)
