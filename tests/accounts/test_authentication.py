"""Front door: the headers of a request, against real rows."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils.timezone import now

from accounts import authentication, issuing, keys
from accounts.authentication import authenticate, require_scope
from accounts.errors import AccountSuspended, KeyExpired, KeyRevoked, ScopeMissing
from accounts.models import ApiKey, User
from nijika.errors import Unauthenticated


class Clock:
    def __init__(self) -> None:
        self.now = 10_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """Time stands still until a test moves it, in a process that knows no keys."""
    clock = Clock()
    monkeypatch.setattr(authentication, "time", clock)
    monkeypatch.setattr(authentication, "_cache", authentication._Cache())
    yield clock


@pytest.fixture
def secret(owner: User) -> str:
    return issuing.issue(owner).secret


def with_key(secret: str) -> dict[str, str]:
    return {"HTTP_X_API_KEY": secret}


def bearer(secret: str) -> dict[str, str]:
    return {"HTTP_AUTHORIZATION": f"Bearer {secret}"}


def test_caller_by_either_header_is_the_owner(owner: User, secret: str) -> None:
    for meta in (with_key(secret), bearer(secret), with_key(secret) | bearer(secret)):
        caller = authenticate(meta)
        assert (caller.user_id, caller.email) == (owner.pk, owner.email)
        assert not caller.test


def test_caller_by_a_test_key_is_in_test_mode(owner: User) -> None:
    secret = issuing.issue(owner, test=True).secret
    assert authenticate(with_key(secret)).test


def test_caller_with_bearer_in_any_case_is_known(secret: str) -> None:
    assert authenticate({"HTTP_AUTHORIZATION": f"bEARER  {secret}"})


@pytest.mark.parametrize(
    "meta",
    [
        {},
        {"HTTP_X_API_KEY": ""},
        {"HTTP_X_API_KEY": "nj_live_" + "a" * 30},
        {"HTTP_AUTHORIZATION": "Basic dXNlcjpwYXNz"},
        {"HTTP_AUTHORIZATION": "Bearer"},
        {"HTTP_COOKIE": "key", "QUERY_STRING": "api_key=x"},
    ],
)
def test_caller_without_a_wellformed_key_is_refused_without_a_query(
    db: None, meta: dict[str, str], django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(0), pytest.raises(Unauthenticated):
        authenticate(meta)


def test_caller_with_an_unknown_key_is_refused(owner: User) -> None:
    with pytest.raises(Unauthenticated) as refusal:
        authenticate(with_key(keys.make(test=False).secret))
    assert refusal.value.code == "unauthenticated"


def test_caller_with_two_different_keys_is_refused(owner: User, secret: str) -> None:
    other = issuing.issue(owner).secret
    with pytest.raises(Unauthenticated):
        authenticate(with_key(secret) | bearer(other))


def test_key_revoked_stops_within_a_second(secret: str, clock: Clock) -> None:
    caller = authenticate(with_key(secret))
    issuing.revoke(ApiKey.objects.get(pk=caller.key_id))
    clock.now += 0.9
    with pytest.raises(KeyRevoked):
        authenticate(with_key(secret))


def test_key_expired_by_the_databases_clock_is_refused(
    owner: User, secret: str, clock: Clock
) -> None:
    authenticate(with_key(secret))
    ApiKey.objects.update(expires_at=now() - timedelta(seconds=1))
    clock.now += 0.9
    with pytest.raises(KeyExpired):
        authenticate(with_key(secret))


def test_key_that_expires_later_works(owner: User) -> None:
    later = now() + timedelta(minutes=1)
    assert authenticate(with_key(issuing.issue(owner, expires_at=later).secret))


def test_user_suspended_is_refused_within_a_second(
    owner: User, secret: str, clock: Clock
) -> None:
    authenticate(with_key(secret))
    User.objects.update(suspended_at=now())
    clock.now += 0.9
    with pytest.raises(AccountSuspended):
        authenticate(with_key(secret))
    User.objects.update(suspended_at=None)
    clock.now += 0.9
    assert authenticate(with_key(secret))


def test_key_deleted_is_unknown_within_a_second(secret: str, clock: Clock) -> None:
    authenticate(with_key(secret))
    ApiKey.objects.all().delete()
    clock.now += 0.9
    with pytest.raises(Unauthenticated):
        authenticate(with_key(secret))


def test_requests_within_half_a_second_cost_no_query(
    owner: User, clock: Clock, django_assert_num_queries: Any
) -> None:
    secrets = [issuing.issue(owner).secret for _ in range(5)]
    for secret in secrets:
        authenticate(with_key(secret))
    clock.now += 0.6
    with django_assert_num_queries(1):
        for secret in secrets * 3:
            authenticate(with_key(secret))


def test_last_use_is_written_at_first_and_then_in_batches(
    owner: User, clock: Clock, django_assert_num_queries: Any
) -> None:
    secrets = [issuing.issue(owner).secret for _ in range(3)]
    for secret in secrets:
        authenticate(with_key(secret))
    assert not ApiKey.objects.filter(last_used_at=None).exists()
    ApiKey.objects.update(last_used_at=None)
    for secret in secrets:
        authenticate(with_key(secret))
    clock.now += authentication.WRITE_USES_S
    with django_assert_num_queries(1):  # all keys read, and all uses written
        authenticate(with_key(secrets[0]))
    assert not ApiKey.objects.filter(last_used_at=None).exists()


def test_refused_key_is_not_counted_as_used(owner: User) -> None:
    issued = issuing.issue(owner)
    issuing.revoke(issued.key)
    with pytest.raises(KeyRevoked):
        authenticate(with_key(issued.secret))
    issued.key.refresh_from_db()
    assert issued.key.last_used_at is None


def test_key_unused_for_long_is_forgotten(
    owner: User, secret: str, clock: Clock
) -> None:
    authenticate(with_key(secret))
    clock.now += authentication.FORGET_S + 1
    authenticate(with_key(issuing.issue(owner).secret))
    assert keys.digest(secret) not in authentication._cache._known


def test_many_keys_are_cached_only_up_to_a_limit(
    owner: User, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authentication, "MAX_KEYS", 10)
    for _ in range(15):
        clock.now += 0.001
        authenticate(with_key(issuing.issue(owner).secret))
    assert len(authentication._cache._known) <= 10


def test_scope_that_the_key_lacks_is_refused(owner: User) -> None:
    secret = issuing.issue(owner, scopes=["jobs:read"]).secret
    caller = authenticate(with_key(secret))
    require_scope(caller, "jobs:read")
    with pytest.raises(ScopeMissing) as refusal:
        require_scope(caller, "jobs:write")
    assert (refusal.value.code, refusal.value.status) == ("forbidden", 403)


def test_key_without_scopes_has_all(secret: str) -> None:
    caller = authenticate(with_key(secret))
    for scope in authentication.SCOPES:
        require_scope(caller, scope)


def test_credentials_that_look_valid_need_no_database(secret: str) -> None:
    look = authentication.credentials_look_valid
    assert look(secret, None) and look(None, f"Bearer {secret}")
    assert not look(None, None) and not look("nj_live_x", None)
