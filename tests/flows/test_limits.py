"""Rate limits of a running web server: checklist rows 17 and 18, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nijika.local.servers import free_port
from tests.flows.house import Answer, House, eventually


@contextmanager
def limited_web(home: House, **settings: str) -> Iterator[str]:
    """A second web server with limits; its address."""
    port = str(free_port())
    limits = {"NIJIKA_PORT": port, "NIJIKA_RATE_LIMITS": "true"} | settings
    with home.another("web", **limits):
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: home.call("GET", f"{url}/health/live"), within_s=30)
        yield url


def test_running_web_limits_keys_addresses_and_health(home: House) -> None:
    key = home.new_user()
    rates = {
        "NIJIKA_RATE_PER_KEY": "3/h",
        "NIJIKA_RATE_PER_ADDRESS": "2/h",
        "NIJIKA_RATE_HEALTH": "4/h",
        "NIJIKA_TRUSTED_PROXIES": "1",
    }
    with limited_web(home, **rates) as url:

        def ask(path: str, key: str, address: str) -> Answer:
            forwarded = {"X-Forwarded-For": f"6.6.6.6, {address}"}
            return home.call("GET", url + path, key=key, headers=forwarded)

        account = "/api/v1/account"
        mine = [ask(account, key, f"198.51.100.{n}") for n in range(4)]
        assert [one.status for one in mine] == [200, 200, 200, 429]
        assert mine[-1].body["code"] == "rate_limited"
        assert int(mine[-1].headers["Retry-After"]) > 1000
        assert mine[0].headers["RateLimit-Remaining"] == "2"
        strangers = [ask(account, "wrong", "198.51.100.1").status for _ in range(3)]
        assert strangers == [401, 401, 429]
        assert ask(account, "wrong", "198.51.100.2").status == 401
        health = [ask("/api/health", "wrong", "198.51.100.1") for _ in range(5)]
        assert [one.status for one in health] == [200] * 4 + [429]
