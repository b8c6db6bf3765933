from datetime import timedelta

import pytest
from django.utils.timezone import now

from accounts import issuing, keys
from accounts.authentication import authenticate
from accounts.errors import KeyNotActive, KeyRevoked
from accounts.models import ApiKey, User


def caller_by(secret: str) -> int:
    return authenticate({"HTTP_X_API_KEY": secret}).user_id


def test_issue_stores_the_digest_and_never_the_secret(owner: User) -> None:
    issued = issuing.issue(owner, name="laptop")
    row = ApiKey.objects.values().get()
    assert row["digest"] == keys.digest(issued.secret)
    assert issued.secret not in str(row)


def test_rotate_leaves_the_old_key_working_for_the_overlap(owner: User) -> None:
    old = issuing.issue(owner, name="laptop", test=True, scopes=["jobs:read"])
    new = issuing.rotate(old.key, overlap=timedelta(minutes=5))
    assert caller_by(old.secret) == caller_by(new.secret) == owner.pk
    assert (new.key.name, new.key.test, new.key.scopes) == (
        "laptop",
        True,
        ["jobs:read"],
    )
    old.key.refresh_from_db()
    assert old.key.expires_at is not None
    assert timedelta(minutes=4) < old.key.expires_at - now() <= timedelta(minutes=5)


def test_rotate_of_a_replaced_key_gives_a_successor_that_lasts(owner: User) -> None:
    """As who lost the first one's secret would."""
    lasting = issuing.issue(owner).key
    month = issuing.issue(owner, expires_at=now() + timedelta(days=30)).key
    for key in (lasting, month):
        issuing.rotate(key)
        key.refresh_from_db()
    assert issuing.rotate(lasting).key.expires_at is None
    again = issuing.rotate(month).key
    assert again.expires_at is not None
    assert again.expires_at - now() > timedelta(days=29)


def test_rotate_never_prolongs_the_old_key(owner: User) -> None:
    soon = now() + timedelta(minutes=1)
    old = issuing.issue(owner, expires_at=soon)
    new = issuing.rotate(old.key)
    old.key.refresh_from_db()
    assert old.key.expires_at == soon
    assert new.key.expires_at is not None
    lifetime = new.key.expires_at - new.key.created_at
    assert lifetime == soon - old.key.created_at


def test_rotate_of_a_dead_key_is_refused(owner: User) -> None:
    revoked = issuing.issue(owner).key
    issuing.revoke(revoked)
    expired = issuing.issue(owner, expires_at=now() - timedelta(seconds=1)).key
    for key in (revoked, expired):
        with pytest.raises(KeyNotActive):
            issuing.rotate(key)
    assert ApiKey.objects.count() == 2


def test_revoke_repeated_keeps_the_first_time(owner: User) -> None:
    issued = issuing.issue(owner)
    issuing.revoke(issued.key)
    first = ApiKey.objects.get().revoked_at
    issuing.revoke(issued.key)
    assert ApiKey.objects.get().revoked_at == first
    with pytest.raises(KeyRevoked):
        caller_by(issued.secret)
