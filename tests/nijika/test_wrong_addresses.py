"""A server that is named wrongly, or is not there: one line that says which, without
its password, from every command and from the local stack."""

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from django.db import connection

from gpu_worker import settings
from jobs.database import unpooled
from nijika.env import REDIS_SCHEMES
from nijika.local.stack import ROOT, Stack, StackFailed
from tests.flows.house import environment_of_a_newcomer

SECRETS = {"NIJIKA_SECRET_KEY": "x", "NIJIKA_LINK_TOKEN": "y"}
NOWHERE = "postgres://me:geheim@127.0.0.1:1/mine"
REDIS = "redis://127.0.0.1:1/0"


def manage(*arguments: str, **addresses: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment_of_a_newcomer() | SECRETS | addresses,
        capture_output=True,
        text=True,
    )


def only_line(done: "subprocess.CompletedProcess[str]") -> str:
    assert done.returncode == 1 and done.stdout == ""
    [line] = done.stderr.splitlines()
    assert "geheim" not in line
    return line


@pytest.mark.parametrize(
    "command",
    [
        ["migrate"],
        ["create_user", "me@example.org"],
        ["create_key", "me@example.org"],
        ["image_key", "me@example.org"],
        ["check_ledger"],
        ["unload_engine", "removebg/birefnet"],
        ["webhooks", "me@example.org"],
    ],
    ids=lambda command: command[0],
)
def test_command_without_its_database_says_so_in_one_line(command: list[str]) -> None:
    line = only_line(manage(*command, DATABASE_URL=NOWHERE, REDIS_URL=REDIS))
    assert line.startswith("DATABASE_URL='postgres://me:***@127.0.0.1:1/mine' cannot")
    assert "Connection refused" in line


def test_database_that_refuses_the_password_is_named_without_it(
    tmp_path: Path,
) -> None:
    real = urlsplit(os.environ["DATABASE_URL"])
    address = f"postgres://{real.username}:geheim@{real.hostname}:{real.port}/x"
    line = only_line(manage("migrate", DATABASE_URL=address, REDIS_URL=REDIS))
    assert "authentication failed" in line
    file = tmp_path / "address"
    file.write_text(address)
    from_file = manage("migrate", DATABASE_URL_FILE=str(file), REDIS_URL=REDIS)
    assert only_line(from_file) == line


def test_options_of_the_address_hold() -> None:
    address = f"{os.environ['DATABASE_URL']}?sslmode=require"
    line = only_line(manage("migrate", DATABASE_URL=address, REDIS_URL=REDIS))
    assert "does not support SSL" in line


@pytest.mark.django_db
def test_options_of_the_address_hold_for_locks_and_news(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = connection.settings_dict["OPTIONS"]
    # Not asked of a server: the two do not go together.
    tls = {"sslmode": "require", "sslrootcert": "system"}
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options | tls)
    with pytest.raises(psycopg.OperationalError, match="sslrootcert=system"):
        unpooled.connect("a test")


@pytest.mark.parametrize(
    ("address", "named"),
    [
        ("", "''"),
        ("nonsense", "'nonsense'"),
        ("me:geheim@host/mine", "'me:***@host/mine'"),
        ("mysql://me:geheim@host/mine", "'mysql://me:***@host/mine'"),
        ("postgres://me:ge/heim@host/mine", "'postgres://me:***@host/mine'"),
        ("postgres://me:12/geheim@host/mine", "'postgres://me:***@host/mine'"),
        ("postgres://me:12#geheim@host/mine", "'postgres://me:***@host/mine'"),
        ("postgres://me:geheim@host:port/mine", "'postgres://me:***@host:port/mine'"),
        ("postgres://me:geheim@[::1/mine", "'postgres://me:***@[::1/mine'"),
        ("postgres://me:geheim@host", "'postgres://me:***@host'"),
    ],
)
def test_address_that_is_none_is_refused_before_it_is_tried(
    address: str, named: str
) -> None:
    line = only_line(manage("check_ledger", DATABASE_URL=address, REDIS_URL=REDIS))
    assert line.startswith(f"DATABASE_URL={named}: ")


@pytest.mark.parametrize(
    "command", ["check_ledger", "control", "control --only fetch,webhooks", "migrate"]
)
def test_whole_number_that_is_none_is_refused_by_every_command(command: str) -> None:
    given = {"DATABASE_URL": NOWHERE, "REDIS_URL": REDIS, "NIJIKA_FETCHES": "abc"}
    line = only_line(manage(*command.split(), **given))
    assert line == "NIJIKA_FETCHES='abc' is not a whole number"


def test_secret_whose_file_cannot_be_read_is_named() -> None:
    given = {"DATABASE_URL": NOWHERE, "REDIS_URL": REDIS}
    done = manage("check_ledger", **given, NIJIKA_SECRET_KEY_FILE="/nowhere")
    assert only_line(done).startswith("NIJIKA_SECRET_KEY_FILE cannot be read: ")


def test_redis_address_that_is_none_is_refused() -> None:
    address = "http://:geheim@127.0.0.1:1/0"
    done = manage("check_ledger", DATABASE_URL=NOWHERE, REDIS_URL=address)
    assert only_line(done).startswith("REDIS_URL='http://:***@127.0.0.1:1/0': ")


WORKER = {"NIJIKA_LINK_URL": "http://127.0.0.1:1/", "REDIS_URL": REDIS}
WEB = {"DATABASE_URL": NOWHERE, "REDIS_URL": REDIS}


def started(*program: str, **given: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", *program],
        cwd=ROOT,
        env=environment_of_a_newcomer() | SECRETS | given,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"DATABASE_URL": "nonsense"}, "DATABASE_URL='nonsense': "),
        ({"DATABASE_URL": "mysql://me:geheim@h/x"}, "DATABASE_URL='mysql://me:***@h/x"),
        ({"REDIS_URL": "http://:geheim@h"}, "REDIS_URL='http://:***@h': "),
        ({"NIJIKA_BROKER_URL": "redis://h:port"}, "NIJIKA_BROKER_URL='redis://h:port'"),
        (
            {"NIJIKA_WEB_THREADS": "abc"},
            "NIJIKA_WEB_THREADS='abc' is not a whole number",
        ),
        ({"NIJIKA_WEB_THREADS": ""}, "NIJIKA_WEB_THREADS='' is not a whole number"),
        (
            {"NIJIKA_DEFAULT_ENGINES": "x"},
            "NIJIKA_DEFAULT_ENGINES='x' is not like name",
        ),
        ({"NIJIKA_CREDITS_LOW": "few"}, "NIJIKA_CREDITS_LOW='few' is no amount like"),
        (
            {"NIJIKA_RATE_PER_KEY": "50"},
            "NIJIKA_RATE_PER_KEY='50' is no rate like 50/s",
        ),
        ({"NIJIKA_LINK_LISTEN": "h:x"}, "NIJIKA_LINK_LISTEN='h:x' is not like "),
        ({"NIJIKA_LOG_LEVEL": "loud"}, "NIJIKA_LOG_LEVEL='loud' is none of: CRITICAL"),
        ({"NIJIKA_PORT": "http"}, "NIJIKA_HOST='127.0.0.1', NIJIKA_PORT='http': "),
        ({"NIJIKA_PORT": "70000"}, "NIJIKA_HOST='127.0.0.1', NIJIKA_PORT='70000': "),
    ],
)
def test_web_started_by_hand_says_what_is_wrong_in_one_line(
    wrong: dict[str, str], said: str
) -> None:
    assert only_line(started("nijika.web", **WEB | wrong)).startswith(said)


@pytest.mark.parametrize(
    "wrong",
    [
        {"REDIS_URL": "http://:geheim@127.0.0.1:1/0"},
        {"REDIS_URL": "nonsense"},
        {"REDIS_URL": "redis://:ge#heim@host/0"},
        {"REDIS_URL": "redis://"},
        {"NIJIKA_BROKER_URL": "redis://host:port/0"},
        {"NIJIKA_LINK_URL": "ftp://geheim@host/"},
        {"NIJIKA_LINK_URL": "http://host:port/"},
        {"NIJIKA_LINK_TOKEN_FILE": "/nowhere"},
        {"NIJIKA_WORKER_SLOTS": "two"},
        {"NIJIKA_LOG_LEVEL": "loud"},
    ],
)
def test_worker_started_by_hand_says_what_is_wrong_in_one_line(
    wrong: dict[str, str],
) -> None:
    done = started("gpu_worker", "--queue", "cpu", **WORKER | wrong)
    assert only_line(done).startswith(*wrong)


def test_web_and_worker_take_the_same_brokers() -> None:
    assert settings.BROKER_SCHEMES == REDIS_SCHEMES


def test_address_that_is_missing_is_named() -> None:
    line = only_line(manage("check_ledger", DATABASE_URL=NOWHERE))
    assert line == "Set the REDIS_URL environment variable"
    named = manage("check_ledger", DATABASE_URL=NOWHERE, REDIS_URL_FILE="/nowhere")
    assert only_line(named).startswith("REDIS_URL_FILE cannot be read: ")


def test_traceback_is_there_for_who_asks() -> None:
    done = manage("migrate", "--traceback", DATABASE_URL=NOWHERE, REDIS_URL=REDIS)
    assert done.returncode == 1 and "Traceback" in done.stderr


def test_local_stack_without_the_given_database_says_so(tmp_path: Path) -> None:
    given = environment_of_a_newcomer() | {"DATABASE_URL": NOWHERE, "REDIS_URL": REDIS}
    with (
        pytest.raises(StackFailed) as failed,
        Stack(folder=tmp_path, environment=given),
    ):
        pass
    named = "DATABASE_URL='postgres://me:***@127.0.0.1:1/mine' cannot be used: "
    assert str(failed.value).startswith(named)
    assert "\n" not in str(failed.value)


def test_local_stack_without_the_given_redis_says_so_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"DATABASE_URL": NOWHERE, "REDIS_URL": "redis://:geheim@127.0.0.1:1/0"}
    stack = Stack(folder=tmp_path, environment=given)
    # The database is not what is wrong here.
    monkeypatch.setattr(stack, "manage", lambda *arguments: "")
    with pytest.raises(StackFailed) as failed, stack:
        pass
    named = "REDIS_URL='redis://:***@127.0.0.1:1/0' cannot be used: "
    assert str(failed.value).startswith(named)
