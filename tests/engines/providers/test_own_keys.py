"""Keys that come with a request: used for that job, and nowhere to be found."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from tests.engines.house import EngineHouse
from tests.engines.providers.conftest import OWNERS
from tests.engines.providers.server import Providers, picture, until

ROOM = picture("white", (120, 80))
FAL = "fal:fal-ai/nano-banana/edit"
HEADERS = {
    "google": "X-Google-Api-Key",
    "openai": "X-OpenAI-Api-Key",
    "fal": "X-Fal-Key",
    "stability": "X-Stability-Api-Key",
}
SECRET = "mine-Zq81xW0vUv-{}-secret"


def own(provider: str) -> dict[str, str]:
    return {HEADERS[provider]: SECRET.format(provider)}


def everything_written(home: EngineHouse) -> dict[str, str]:
    """All that the house keeps and has said, by where: tables with their dead rows'
    successors, the broker, files, logs, and what every process was started with."""
    found: dict[str, str] = {}
    url = home.stack.environment["DATABASE_URL"]
    with psycopg.connect(url) as connection:
        names = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        ).fetchall()
        for (name,) in names:
            rows = connection.execute(
                f'SELECT to_jsonb(t)::text FROM "{name}" AS t'  # type: ignore[arg-type]
            ).fetchall()
            found[name] = "\n".join(row[0] for row in rows)
    found["broker"] = _broker(home.stack.environment["REDIS_URL"])
    for path in home.stack.folder.rglob("*"):
        if path.is_file() and not _is_of_postgres(path, home.stack.folder):
            found[str(path)] = path.read_bytes().decode("latin-1")
    return found


def _broker(url: str) -> str:
    with redis.Redis.from_url(url) as client:
        return "\n".join(str(client.dump(key)) for key in client.scan_iter())


def _is_of_postgres(path: Path, folder: Path) -> bool:
    return "postgres" in path.relative_to(folder).parts[0]


def places_of(home: EngineHouse, secret: str) -> list[str]:
    plain = secret.encode()
    forms = {secret, base64.b64encode(plain).decode()[:-4], plain.hex()}
    return [
        place
        for place, text in everything_written(home).items()
        if any(form in text for form in forms)
    ]


def has_ticket(home: EngineHouse, job_id: str) -> bool:
    query = "SELECT checkpoint LIKE '%%\"app%%' FROM jobs_job WHERE id = %s"
    return bool(home.sql(query, job_id)[0][0])


@pytest.mark.parametrize(
    ("engine", "provider", "operation"),
    [
        ("google", "google", "edit"),
        ("openai", "openai", "edit"),
        (FAL, "fal", "edit"),
        ("stability", "stability", "generate"),
    ],
)
def test_own_key_pays_the_provider_and_leaves_no_trace(
    home: EngineHouse, providers: Providers, engine: str, provider: str, operation: str
) -> None:
    images = [ROOM] if operation == "edit" else []
    job = home.done(
        operation, *images, engine=engine, prompt="It.", headers=own(provider)
    )
    assert job["status"] == "succeeded", job["error"]
    assert (job["price"], job["charged"]) == ("0.0050", "0.0050")
    secret = SECRET.format(provider)
    assert {one.key for one in providers.asked(provider)} == {secret}
    assert places_of(home, secret) == []
    kept = "SELECT own_key, sealed_key FROM jobs_job WHERE id = %s"
    assert home.sql(kept, job["id"]) == [(True, None)]


def test_own_key_goes_alone_without_the_owners_organisation(
    home: EngineHouse, providers: Providers
) -> None:
    home.done("edit", ROOM, engine="openai", prompt="It.", headers=own("openai"))
    [asked] = providers.asked("openai")
    assert "of-the-owner" not in asked.headers.as_string()


@pytest.mark.parametrize("way", ["bad_key", "down", "cut", "invalid", "quota"])
@pytest.mark.parametrize("provider", ["google", "openai", "fal", "stability"])
def test_failure_that_repeats_the_key_is_not_repeated_by_us(
    home: EngineHouse, providers: Providers, provider: str, way: str
) -> None:
    """The providers here put the key into the text of every error."""
    engine = FAL if provider == "fal" else provider
    operation = "generate" if provider == "stability" else "edit"
    images = [ROOM] if operation == "edit" else []
    providers.will(provider, way, way, way)
    job = home.done(
        operation, *images, engine=engine, prompt="It.", headers=own(provider)
    )
    assert job["status"] == "failed"
    assert "secret" not in json.dumps(job)
    if way == "bad_key":
        assert "your key" in job["error"]["message"]
    assert places_of(home, SECRET.format(provider)) == []
    kept = "SELECT sealed_key FROM jobs_job WHERE id = %s"
    assert home.sql(kept, job["id"]) == [(None,)]


def test_key_lies_sealed_while_its_job_waits_and_survives_the_worker(
    home: EngineHouse, providers: Providers
) -> None:
    providers.will("fal GET", *["wait"] * 1000)
    job_id = home.began("edit", ROOM, engine=FAL, prompt="It.", headers=own("fal"))
    until(lambda: has_ticket(home, job_id))
    [(sealed,)] = home.sql("SELECT sealed_key FROM jobs_job WHERE id = %s", job_id)
    assert sealed
    secret = SECRET.format("fal")
    assert places_of(home, secret) == []
    assert secret not in base64.b64decode(sealed).decode("latin-1")
    home.kill("remote")
    assert _command_lines().count(secret) == 0
    providers.will("fal GET")
    assert home.end_of(job_id, within_s=40)["status"] == "succeeded"
    assert {one.key for one in providers.asked("fal")} == {secret}
    looks = [one for one in providers.seen if one.method == "GET"]
    assert {one.key for one in looks} == {secret}
    assert places_of(home, secret) == []


def _command_lines() -> str:
    return subprocess.run(
        ["ps", "axeww"], capture_output=True, text=True, check=True
    ).stdout


def test_sealed_key_opens_for_no_other_job(
    home: EngineHouse, providers: Providers
) -> None:
    """Whoever can write the database cannot spend a key on a job of theirs."""
    providers.will("fal GET", *["wait"] * 1000)
    theirs = home.began("edit", ROOM, engine=FAL, prompt="It.", headers=own("fal"))
    until(lambda: has_ticket(home, theirs))
    home.kill("remote")
    mine = home.began("edit", ROOM, engine=FAL, prompt="It.", headers={})
    home.sql(
        "UPDATE jobs_job SET own_key = true, sealed_key ="
        " (SELECT sealed_key FROM jobs_job WHERE id = %s) WHERE id = %s",
        theirs,
        mine,
    )
    providers.will("fal GET")
    assert home.end_of(theirs, within_s=40)["status"] == "succeeded"
    job = home.end_of(mine, within_s=40)
    assert (job["status"], job["error"]["code"]) == ("failed", "engine_unavailable")
    assert len(providers.asked("fal")) == 1


def test_key_of_another_provider_is_not_kept(
    home: EngineHouse, providers: Providers
) -> None:
    job = home.done("edit", ROOM, engine="google", prompt="It.", headers=own("fal"))
    assert job["price"] == "0.0500"
    assert [one.key for one in providers.asked("google")] == [OWNERS["google"]]
    kept = "SELECT own_key, sealed_key FROM jobs_job WHERE id = %s"
    assert home.sql(kept, job["id"]) == [(False, None)]


def test_openai_key_of_a_client_is_never_sent_to_an_endpoint_of_the_owner(
    home: EngineHouse, providers: Providers
) -> None:
    asked = {"prompt": "It.", "headers": own("openai")}
    job = home.done("edit", ROOM, engine="openai-compatible", **asked)
    assert job["price"] == "0.0500"
    assert [one.key for one in providers.asked("compatible")] == [OWNERS["compatible"]]


def test_idempotency_key_does_not_look_at_the_providers_key(
    home: EngineHouse, providers: Providers
) -> None:
    twins = [
        home.ask(
            "edit",
            ROOM,
            engine="google",
            prompt="It.",
            headers={"Idempotency-Key": "once", HEADERS["google"]: key},
        )
        for key in ("first-key-aaaa", "second-key-bbbb")
    ]
    assert [one.status for one in twins] == [202, 202]
    assert twins[0].body["id"] == twins[1].body["id"]
    home.end_of(twins[0].body["id"])
    assert [one.key for one in providers.asked("google")] == ["first-key-aaaa"]
    assert places_of(home, "second-key-bbbb") == []


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Fal-Key": "with blanks inside"},
        {"X-Fal-Key": "x" * 501},
        {"X-Google-Api-Key": "one-key", "X-Gemini-Api-Key": "another-key"},
    ],
)
def test_header_that_is_no_key_is_refused_without_showing_it(
    home: EngineHouse, providers: Providers, headers: dict[str, str]
) -> None:
    refused = home.ask("edit", ROOM, engine=FAL, prompt="It.", headers=headers)
    assert refused.status == 422
    assert not any(value in json.dumps(refused.body) for value in headers.values())


def test_two_headers_of_google_may_carry_one_key(
    home: EngineHouse, providers: Providers
) -> None:
    headers = {"X-Google-Api-Key": "same-key", "X-Gemini-Api-Key": "same-key"}
    job = home.done("edit", ROOM, engine="nano-banana", prompt="It.", headers=headers)
    assert (job["status"], job["engine"]) == ("succeeded", "google")
    assert [one.key for one in providers.asked("google")] == ["same-key"]


def test_old_edit_path_takes_keys_and_names_of_providers(
    home: EngineHouse, providers: Providers
) -> None:
    for provider in ("Nano-Banana", "fal:fal-ai/nano-banana/edit"):
        headers = own("google") | own("fal") | {"Content-Type": "application/json"}
        image = "data:image/png;base64," + base64.b64encode(ROOM).decode()
        body: dict[str, Any] = {"images": [image], "provider": provider}
        answer = home.call(
            "POST", "/api/edit", body=json.dumps(body).encode(), headers=headers
        )
        assert answer.status == 200, answer.body
        assert answer.headers["X-Credits-Charged"] == "0.0050"
    assert [one.key for one in providers.asked("google")] == [SECRET.format("google")]
    assert [one.key for one in providers.asked("fal")] == [SECRET.format("fal")]


def test_batch_with_a_key_seals_it_for_each_of_its_jobs(
    home: EngineHouse, providers: Providers
) -> None:
    image = "data:image/png;base64," + base64.b64encode(ROOM).decode()
    item = {"operation": "edit", "engine": "google", "image": image}
    answer = home.call(
        "POST",
        "/api/v1/batches",
        body=json.dumps({"items": [item, item]}).encode(),
        headers=own("google") | {"Content-Type": "application/json"},
    )
    assert answer.status == 202, answer.body
    ids = home.sql("SELECT id::text FROM jobs_job WHERE batch_id = %s",
                   answer.body["id"])  # fmt: skip
    for (job_id,) in ids:
        assert home.end_of(job_id)["charged"] == "0.0050"
    keys = [one.key for one in providers.asked("google")]
    assert keys == [SECRET.format("google")] * 2


def test_estimate_names_the_price_with_an_own_key(
    home: EngineHouse, providers: Providers
) -> None:
    body = json.dumps({"operation": "edit", "engine": "google"}).encode()
    kind = {"Content-Type": "application/json"}
    plain = home.call("POST", "/api/v1/estimate", body=body, headers=kind)
    paid = home.call(
        "POST", "/api/v1/estimate", body=body, headers=kind | own("google")
    )
    assert (plain.body["price"], paid.body["price"]) == ("0.0500", "0.0050")
