"""The audit log: nothing that staff does is missing from it, nothing leaves it."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.db import IntegrityError, connection, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.test import Client, RequestFactory

from accounts.models import User
from nijika.staff.models import Action
from tests.staff.conftest import act, act_url

pytestmark = pytest.mark.django_db


def last() -> Action:
    found = Action.objects.order_by("-pk").first()
    assert found is not None
    return found


@pytest.mark.parametrize(
    "query",
    ["UPDATE staff_action SET reason = 'another'", "DELETE FROM staff_action"],
)
def test_log_is_append_only(staff: Client, query: str) -> None:
    assert last().action == "signed in"
    with pytest.raises(IntegrityError), transaction.atomic():
        connection.cursor().execute(query)


@pytest.mark.parametrize("page", ["change", "delete"])
def test_log_has_no_form(staff: Client, page: str) -> None:
    url = f"/admin/staff/action/{last().pk}/{page}/"
    assert staff.post(url, {"reason": "x", "post": "yes"}).status_code == 403


def test_deed_says_who_what_whom_why_and_from_where(
    staff: Client, boss: User, owner: User
) -> None:
    act(staff, "accounts_user", "suspend", owner.pk, reason="spam")
    deed = last()
    assert (deed.actor, deed.action, deed.user) == (boss, "suspended", owner)
    assert (deed.subject, deed.reason) == (f"user {owner.pk}", "spam")
    assert deed.address == "127.0.0.1" and deed.request_id
    assert owner.email not in str(vars(deed).values())


def test_suspending_again_is_no_deed(staff: Client, owner: User) -> None:
    for _ in range(2):
        act(staff, "accounts_user", "suspend", owner.pk)
    assert Action.objects.filter(action="suspended").count() == 1


def test_role_change_says_from_what_to_what(staff: Client, owner: User) -> None:
    act(staff, "accounts_user", "role", owner.pk, role="moderator")
    assert last().details == {"from": "user", "to": "moderator"}


def test_refused_act_leaves_no_trace_of_a_deed(staff: Client, boss: User) -> None:
    before = last().pk
    act(staff, "accounts_user", "suspend", boss.pk)
    act(staff, "accounts_user", "suspend", boss.pk, reason="")
    assert last().pk == before


def test_page_that_forgets_to_record_is_recorded(boss: User) -> None:
    """What a page of tomorrow may forget."""

    def forgetful(request: HttpRequest) -> HttpResponse:
        return redirect("/admin/")

    request = RequestFactory().post("/admin/something/")
    request.user = boss
    request._dont_enforce_csrf_checks = True  # type: ignore[attr-defined]
    admin.site.admin_view(forgetful)(request)
    deed = last()
    assert deed.action == "changed something"
    assert deed.details == {"path": "/admin/something/", "method": "POST"}


def test_looking_is_no_deed(staff: Client, owner: User) -> None:
    before = last().pk
    staff.get(f"/admin/accounts/user/{owner.pk}/change/")
    staff.get(f"{act_url('accounts_user', 'suspend')}?id={owner.pk}")
    assert last().pk == before


def test_form_without_its_token_does_nothing(boss: User, owner: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(boss)
    assert act(client, "accounts_user", "suspend", owner.pk) == 403
    assert User.objects.get(pk=owner.pk).suspended_at is None


def test_log_is_found_by_user_actor_and_subject(
    staff: Client, boss: User, owner: User
) -> None:
    act(staff, "accounts_user", "suspend", owner.pk)
    for query in (f"user={owner.pk}", f"subject=user {owner.pk}", f"q=user {owner.pk}"):
        page = staff.get(f"/admin/staff/action/?{query}")
        assert page.context["cl"].result_count == 1, query
    for query in (f"actor={boss.pk}", f"q={boss.email}"):
        page = staff.get(f"/admin/staff/action/?{query}")
        assert page.context["cl"].result_count == 2, query
