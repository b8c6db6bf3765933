"""The request that does the same from a program: for curl and for Python, to copy."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pprint import pformat
from typing import Any

from django.conf import settings

from gpu_worker.contract import SANDBOX
from jobs import engines
from jobs.api.rendering import API
from jobs.models import Job
from jobs.requests import sealing
from jobs.results import EXTENSIONS

WAIT_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """`place` is a URL or a reference; empty for a file, whose name then counts."""

    role: str
    name: str = ""
    place: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a program would ask for. `key_header` names the header that carries a key of
    the person's own for the provider; the key itself is nowhere in here."""

    operation: str
    engine: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    then: Sequence[Mapping[str, Any]] = ()
    images: Sequence[Image] = ()
    key_header: str = ""

    @property
    def key_variable(self) -> str:
        """From where a program takes that key: `X-Fal-Key` is in `FAL_KEY`."""
        return self.key_header.removeprefix("X-").replace("-", "_").upper()


def of_job(job: Job) -> dict[str, str]:
    images = [
        Image(role=row["role"], place=row["url"], name=_name(row, number))
        for number, row in enumerate(job.inputs)
    ]
    asked = Asked(
        operation=job.operation,
        engine=_engine(job.operation, job.engine),
        parameters=_said(job),
        then=job.then,
        images=images,
        key_header=_key_header(job),
    )
    return texts(asked)


def _key_header(job: Job) -> str:
    """Of the provider, which all models of a family (`fal:…`) have in common."""
    if not job.own_key:
        return ""
    family = job.engine.partition(":")[0]
    specs = engines.known(job.operation, test=False)
    found = (one.provider for one in specs if one.engine.partition(":")[0] == family)
    return next((sealing.HEADERS[one][0] for one in found if one), "")


def _said(job: Job) -> dict[str, Any]:
    """The parameters that say something: not those that are as they are by default."""
    given: dict[str, Any] = job.parameters
    specs = engines.known(job.operation, test=False)
    spec = next((one for one in specs if one.engine == job.engine), None)
    if spec is None:
        return given
    members = spec.parameters.get("properties", {})
    return {
        name: value
        for name, value in given.items()
        if not _is_default(members.get(name), value)
    }


def _is_default(member: Any, value: Any) -> bool:
    return isinstance(member, dict) and member.get("default", ...) == value


def texts(asked: Asked) -> dict[str, str]:
    return {"curl": curl(asked), "python": python(asked)}


def curl(asked: Asked) -> str:
    """A form, with a file per image, or JSON where there is no file."""
    lines = [
        f"curl {settings.PUBLIC_URL}{API}/jobs",
        '-H "Authorization: Bearer $NIJIKA_API_KEY"',
        f'-H "Prefer: wait={WAIT_S}"',
    ]
    if asked.key_header:
        lines.append(f'-H "{asked.key_header}: ${asked.key_variable}"')
    if _has_files(asked):
        form = [f"{name}={text}" for name, text in _fields(asked).items()]
        form += [
            f"{one.role}=@{one.name}" if not one.place else f"{one.role}={one.place}"
            for one in asked.images
        ]
        lines += [f"-F {shlex.quote(one)}" for one in form]
    else:
        body = json.dumps(_body(asked), ensure_ascii=False)
        lines += ["-H 'Content-Type: application/json'", f"-d {shlex.quote(body)}"]
    return " \\\n  ".join(lines)


def python(asked: Asked) -> str:
    if _has_files(asked):
        imports, sent = "import json\nimport os\n", _form_code(asked)
    else:
        imports = "import os\n"
        sent = f"    json={_code(_body(asked))},\n"
    return (
        f"{imports}\nimport requests\n\n"
        "answer = requests.post(\n"
        f'    "{settings.PUBLIC_URL}{API}/jobs",\n'
        "    headers={\n"
        '        "Authorization": f"Bearer {os.environ[\'NIJIKA_API_KEY\']}",\n'
        f'        "Prefer": "wait={WAIT_S}",\n'
        f"{_key_code(asked)}"
        "    },\n"
        f"{sent}"
        ")\n"
        "answer.raise_for_status()\n"
        "job = answer.json()\n"
        'for result in job["results"]:\n'
        '    kind = result["content_type"].split("/")[1]\n'
        '    with open(f"result-{result[\'index\']}.{kind}", "wb") as file:\n'
        '        file.write(requests.get(result["url"]).content)\n'
    )


def _key_code(asked: Asked) -> str:
    if not asked.key_header:
        return ""
    return f'        "{asked.key_header}": os.environ["{asked.key_variable}"],\n'


def _form_code(asked: Asked) -> str:
    fields = {n: v for n, v in _body(asked).items() if n not in _roles(asked)}
    data = "".join(
        f'        "{name}": {_value_code(value)},\n' for name, value in fields.items()
    )
    for one in asked.images:
        if one.place:
            data += f'        "{one.role}": {one.place!r},\n'
    files = "".join(
        f'        ("{one.role}", open({one.name!r}, "rb")),\n'
        for one in asked.images
        if not one.place
    )
    return f"    data={{\n{data}    }},\n    files=[\n{files}    ],\n"


def _value_code(value: Any) -> str:
    return repr(value) if isinstance(value, str) else f"json.dumps({_code(value)})"


def _code(value: Any) -> str:
    lines = pformat(value, width=72, sort_dicts=False).splitlines()
    return "\n    ".join(lines)


def _fields(asked: Asked) -> dict[str, str]:
    """The members that are not images, as texts of a form."""
    return {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in _body(asked).items()
        if name not in _roles(asked)
    }


def _body(asked: Asked) -> dict[str, Any]:
    body: dict[str, Any] = {"operation": asked.operation}
    if asked.engine:
        body["engine"] = asked.engine
    if asked.parameters:
        body["parameters"] = dict(asked.parameters)
    if asked.then:
        body["then"] = [dict(step) for step in asked.then]
    for role in _roles(asked):
        places = [one.place for one in asked.images if one.role == role]
        body[role] = places[0] if len(places) == 1 else places
    return body


def _roles(asked: Asked) -> list[str]:
    return list(dict.fromkeys(one.role for one in asked.images))


def _has_files(asked: Asked) -> bool:
    return any(not one.place for one in asked.images)


def _engine(operation: str, engine: str) -> str | None:
    """A default needs no name, and the sandbox is chosen by the key."""
    is_usual = settings.DEFAULT_ENGINES.get(operation) == engine
    return None if is_usual or engine == SANDBOX else engine


def _name(row: Mapping[str, Any], number: int) -> str:
    extension = EXTENSIONS.get(row["content_type"], "img")
    return f"{row['role']}-{number}.{extension}" if number else f"photo.{extension}"
