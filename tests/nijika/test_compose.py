"""What can be known of the containers without an engine to run them."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema
from honcho.environ import parse_procfile
from jsonschema import Draft7Validator

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = {n: s for n, s in SERVICES.items() if "build" in s}


def test_compose_file_keeps_the_compose_specification() -> None:
    schema = get_builtin_schema("vendor.compose-spec")
    errors = list(Draft7Validator(schema).iter_errors(COMPOSE))
    assert [error.message for error in errors] == []


@pytest.mark.parametrize("name", OURS)
def test_compose_variables_are_read_by_the_program(name: str) -> None:
    readers = [ROOT / "nijika/settings.py"]
    if "gpu_worker" in OURS[name]["build"]["dockerfile"]:
        readers = [*(ROOT / "gpu_worker").rglob("*.py")]
    text = "".join(path.read_text() for path in readers)
    known = set(re.findall(r'"([A-Z][A-Z0-9_]+)"', text))
    known |= set(re.findall(r'"(NIJIKA_[A-Z0-9_]+)"', _text_of("nijika/web.py")))
    known |= {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}  # boto3 reads these itself
    assert set(OURS[name]["environment"]) <= known


def test_compose_runs_the_procfile() -> None:
    lines = parse_procfile((ROOT / "Procfile").read_text()).processes
    assert {name: SERVICES[name]["command"] for name in lines} == lines


@pytest.mark.parametrize("name", ["worker-t4", "worker-a100"])
def test_compose_gpu_workers_are_profiles_that_reserve_a_gpu(name: str) -> None:
    service = SERVICES[name]
    queue = name.removeprefix("worker-")
    devices = service["deploy"]["resources"]["reservations"]["devices"]
    assert service["profiles"] == [queue]
    assert f"--queue {queue}" in service["command"]
    assert devices[0]["capabilities"] == ["gpu"]
    assert service["environment"]["NIJIKA_WEIGHTS"] == "/weights"
    assert service["volumes"] == ["./weights:/weights:ro"]


@pytest.mark.parametrize("name", [n for n in SERVICES if n.startswith("worker")])
def test_compose_workers_are_built_for_their_queue(name: str) -> None:
    stages = re.findall(r"^FROM \S+ AS (\w+)", _text_of("gpu_worker/Dockerfile"), re.M)
    build = SERVICES[name]["build"]
    assert build.get("target", stages[-1]) in stages
    assert stages[-1] == "cpu", "a plain build has no torch"


def test_agpl_is_installed_only_where_it_was_accepted() -> None:
    lines = _text_of("gpu_worker/Dockerfile").splitlines()
    [install] = [one for one in lines if "pip" in one and "fastsam" in one]
    assert install.startswith('RUN test "${FASTSAM}" != AGPL-3.0 ||')


def test_compose_offers_the_default_engines() -> None:
    example = _text_of(".env.example")
    listed = re.search(r"^# NIJIKA_DEFAULT_ENGINES=(.+)$", example, re.M)
    assert listed is not None
    told = OURS["web"]["environment"]["NIJIKA_DEFAULT_ENGINES"]
    assert told == "${NIJIKA_DEFAULT_ENGINES:-" + listed[1] + "}"


def test_compose_workers_hold_no_database_and_no_storage_credentials() -> None:
    workers = [s for n, s in SERVICES.items() if n.startswith("worker")]
    names = {name for worker in workers for name in worker["environment"]}
    assert not {n for n in names if n.startswith(("DATABASE", "AWS", "POSTGRES"))}
    files = {one["path"] for worker in workers for one in worker["env_file"]}
    assert files == {"worker.env"}, ".env and platform.env hold the platform's secrets"


@pytest.mark.parametrize("path", ["nijika/Dockerfile", "gpu_worker/Dockerfile"])
def test_dockerfile_copies_only_what_exists(path: str) -> None:
    for line in _text_of(path).splitlines():
        if line.startswith("COPY "):
            *sources, _ = shlex.split(line)[1:]
            assert all((ROOT / source).exists() for source in sources), line


def test_platform_image_has_what_its_child_processes_need_of_the_worker() -> None:
    text = _text_of("nijika/Dockerfile")
    assert "COPY gpu_worker gpu_worker" in text
    assert "-r gpu_worker/requirements.txt" in text


def test_env_example_lists_every_variable_of_compose() -> None:
    wanted = set(re.findall(r"\$\{([A-Z0-9_]+)", _text_of("docker-compose.yml")))
    assert wanted <= set(
        re.findall(r"^#? ?([A-Z0-9_]+)=", _text_of(".env.example"), re.M)
    )


def _text_of(path: str) -> str:
    return (ROOT / path).read_text()
