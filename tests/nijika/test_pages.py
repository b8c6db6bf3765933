import pytest
from django.core import checks
from django.core.handlers.exception import convert_exception_to_response
from django.http import HttpResponse
from django.test import Client, RequestFactory
from pytest_django.fixtures import Settings

from accounts.models import User
from nijika.pages import Csrf, Messages, Sessions, StaticFiles, Users


@pytest.mark.django_db
def test_admin_login_works_and_is_guarded_against_forgery() -> None:
    user = User.objects.create_superuser("root@example.com", "a password")
    strict = Client(enforce_csrf_checks=True)
    form = {"username": user.email, "password": "a password"}

    assert strict.post("/admin/login/", form).status_code == 403
    strict.get("/admin/login/")
    token = {"csrfmiddlewaretoken": strict.cookies["csrftoken"].value}
    reply = strict.post("/admin/login/?next=/admin/", form | token)

    assert (reply.status_code, reply["Location"]) == (302, "/admin/")
    assert strict.get("/admin/").status_code == 200


@pytest.mark.urls("tests.nijika.urls_of_tests")
def test_form_of_a_page_is_guarded_against_forgery() -> None:
    strict = Client(enforce_csrf_checks=True)

    assert strict.post("/admin/form", {"a": "1"}).status_code == 403


@pytest.mark.django_db
def test_api_looks_at_no_session_and_sets_no_cookie() -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("root@example.com", "x"))

    reply = client.get("/api/v1/account")

    assert (reply.status_code, reply.json()["code"]) == (401, "unauthenticated")
    assert not reply.cookies


@pytest.mark.django_db
def test_static_files_are_served(client: Client) -> None:
    reply = client.get("/static/admin/css/base.css")

    assert reply.status_code == 200
    assert b"".join(reply.streaming_content)  # type: ignore[attr-defined]
    reply.close()


def test_frames_are_refused_everywhere(client: Client) -> None:
    assert client.get("/api/none")["X-Frame-Options"] == "DENY"


def test_admin_finds_the_middleware_it_needs() -> None:
    assert [m for m in checks.run_checks() if m.id and m.id.startswith("admin")] == []


def test_csrf_passes_by_the_api() -> None:
    request = RequestFactory().post("/api/v1/jobs")
    csrf = Csrf(lambda request: None)  # type: ignore[arg-type, return-value]

    assert csrf.process_view(request, lambda: None, (), {}) is None


def test_api_call_passes_by_all_middleware_of_pages_in_one_step() -> None:
    following = convert_exception_to_response(lambda request: HttpResponse("answered"))

    chain = following
    for middleware in (Messages, Users, Csrf, Sessions, StaticFiles):
        chain = convert_exception_to_response(middleware(chain))

    assert chain.__wrapped__.past is following
    assert chain(RequestFactory().get("/api/v1/account")).content == b"answered"


@pytest.mark.parametrize("debugging", [True, False])
def test_a_person_who_is_lost_gets_a_page(
    client: Client, settings: Settings, debugging: bool
) -> None:
    settings.DEBUG = debugging
    answer = client.get("/no-such-place", headers={"Accept": "text/html,*/*"})
    assert (answer.status_code, answer["Content-Type"]) == (
        404,
        "text/html; charset=utf-8",
    )
    assert "Nothing is here" in answer.content.decode()
    assert "script-src 'self'" in answer["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["/api/none", "/api/v1/jobs/none", "/no-such-place"])
def test_a_program_that_is_lost_gets_a_problem(client: Client, path: str) -> None:
    accept = "text/html" if path.startswith("/api") else "*/*"
    answer = client.get(path, headers={"Accept": accept})
    assert answer["Content-Type"] == "application/problem+json"
