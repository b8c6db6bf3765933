"""What a scraper sees of a running stack."""

from __future__ import annotations

import re
import urllib.request

from tests.flows.house import House


def scraped(home: House) -> dict[str, float]:
    with urllib.request.urlopen(f"{home.stack.url}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    lines = re.findall(r"^(\w+(?:\{[^}]*\})?) ([0-9.e+-]+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in lines}


def grown(before: dict[str, float], after: dict[str, float], name: str) -> float:
    return after.get(name, 0) - before.get(name, 0)


def test_job_shows_in_every_count_once(home: House) -> None:
    before = scraped(home)
    job_id = home.accepted("sleep", seconds=0)
    home.end_of(job_id)
    home.submit("nothing")

    after = scraped(home)

    assert grown(before, after, 'nijika_submissions_total{outcome="accepted"}') == 1
    assert grown(before, after, 'nijika_link_reports_total{outcome="succeeded"}') == 1
    assert grown(before, after, 'nijika_link_calls_total{outcome="ok"}') >= 2
    created = 'nijika_http_request_duration_seconds_count{method="POST",'
    jobs = 'route="api/v1/jobs",status="%s"}'
    assert grown(before, after, created + jobs % 202) == 1
    assert grown(before, after, created + jobs % 422) == 1
    assert after['nijika_workers{queue="cpu"}'] >= 1
