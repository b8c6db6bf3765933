import time

from jobs import ids


def test_ids_are_unique_and_version_7() -> None:
    many = ids.new_ids(2_000)

    assert len(set(many)) == 2_000
    assert {one.version for one in many} == {7}
    assert {one.variant for one in many} == {"specified in RFC 4122"}


def test_ids_lie_in_time_order() -> None:
    first = ids.new_id()
    time.sleep(0.002)

    assert first < ids.new_id()
    assert abs((first.int >> 80) / 1000 - time.time()) < 1
