"""The playground: its page, and what its script asks for.

The script sends the picture as an upload, asks for the price while parameters are
chosen, submits, and follows the job's events: the services of the API, for the
session's person.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.templatetags.static import static

from billing import ledger
from jobs import submission
from jobs.api import catalogue, parsing, wishes
from jobs.api.rendering import answer, credits_text, job_view
from jobs.api.uploads import checked, upload_view
from jobs.files import uploads
from jobs.pages import requests, words
from jobs.pages.base import PersonPage, local
from jobs.pages.requests import Asked, Image
from jobs.requests import inputs, orders, sealing
from jobs.requests.inputs import REFERENCES
from jobs.requests.orders import Checked, Order
from jobs.submission import Accepted
from nijika.continuation import finish

SAMPLES = (
    ("lemur", "A lemur, in its fur"),
    ("kettle", "A kettle and a mug"),
    ("truck", "A pickup truck"),
    ("bedroom", "A bedroom"),
)
FIRST = ("removebg", "smart-mask", "edit", "generate", "upscale", "white-balance")
"""The operations that people come for; the others follow by name."""
ORDER = """
prompt task negative_prompt bg_color crop crop_margin add_shadow channels width height
fit enlarge unit x y trim color gradient scale size model auto border_adjustment blur
format quality lossless
"""
"""Parameters in the order of their fields, those that are asked for most first."""
START: dict[str, dict[str, Any]] = {
    "smart-mask": {"auto": True},
    "generate": {"prompt": "A red fox in fresh snow, in the first light of the day"},
    "upscale": {"scale": 2},
    "resize": {"width": 400},
    "crop": {"width": 400, "height": 300},
    "encode": {"format": "webp"},
    "compose": {"color": "#f2a33a"},
}
"""With what a form begins, where an empty one would be refused or say little."""


class Playground(PersonPage):
    def get(self, request: HttpRequest) -> HttpResponse:
        available, _ = ledger.balance(self.user_id)
        operations = _operations(test=self.test)
        setup = {
            "operations": operations,
            "limits": catalogue.limits(),
            "available": credits_text(available),
            "start": START,
            "order": ORDER.split(),
            "errors": {code: said.text for code, said in words.ERRORS.items()},
        }
        return self.show(
            "jobs/playground.html",
            setup=setup,
            operations=operations,
            samples=[_sample(name, text) for name, text in SAMPLES],
            available=available,
        )


class Uploads(PersonPage):
    """Announce the picture; the answer says where to send it."""

    def post(self, request: HttpRequest) -> HttpResponse:
        body = checked(parsing.json_object(request))
        announced = uploads.announce(
            user_id=self.user_id,
            test=self.test,
            content_type=body["content_type"],
            size_bytes=body["size_bytes"],
        )
        view = upload_view(announced.upload)
        if view["send"]:
            view["send"]["url"] = local(view["send"]["url"])
        return answer(view, status=201)


class Estimate(PersonPage):
    """The price, and the same request for a program.

    Names of the files that are to be sent come as the member `files`, by role; whether
    the provider is to be paid with a key of the person's own as `own_key`. The key
    itself comes with `Run` alone, in the header that the API takes, too.
    """

    def post(self, request: HttpRequest) -> HttpResponse:
        body = parsing.json_object(request)
        files = _texts(body.pop("files", {}))
        own_keys = sealing.HEADERS if body.pop("own_key", False) else ()
        order = parsing.json_order(body)
        found = orders.check(
            order, test=self.test, images_optional=True, own_keys=own_keys
        )
        inputs.check(order.images)
        available, _ = ledger.balance(self.user_id)
        price = Decimal(0) if self.test else found.price
        content = {
            "price": credits_text(price),
            "available": credits_text(available),
            "is_enough": price <= available,
            "requests": requests.texts(_asked(order, files, _key_header(found))),
        }
        return answer(content)


class Run(PersonPage):
    """Submit; a repeat under the same `Idempotency-Key` gives the same job."""

    def post(self, request: HttpRequest) -> HttpResponse:
        order = parsing.json_order(parsing.json_object(request))
        key = wishes.idempotency_key(request)
        orderer = replace(
            self.orderer(test=self.test, idempotency_key=key),
            provider_keys=wishes.provider_keys(request),
        )
        item = orders.prepare(order, orderer)
        accepting = submission.combiner().offer(item)
        return finish(request, accepting, _accepted)


def _accepted(accepted: Accepted) -> HttpResponse:
    """Runs in the front's event loop: no query here."""
    return answer(job_view(accepted.job), status=202)


def _operations(*, test: bool) -> list[dict[str, Any]]:
    """Those that can be asked for, with the engines of which anything is known."""
    offered = catalogue.sandbox() if test else catalogue.operations()
    for one in offered:
        one["engines"] = [it for it in one["engines"] if it["parameters"] is not None]
    found = [_operation(one) for one in offered if one["engines"]]
    return sorted(found, key=lambda one: (_rank(one["name"]), one["title"]))


def _operation(found: dict[str, Any]) -> dict[str, Any]:
    said = words.operation(found["name"])
    return found | {"title": said.title, "text": said.text}


def _rank(name: str) -> int:
    return FIRST.index(name) if name in FIRST else len(FIRST)


def _sample(name: str, text: str) -> dict[str, str]:
    return {
        "url": static(f"jobs/samples/{name}.jpg"),
        "thumb": static(f"jobs/samples/{name}.thumb.webp"),
        "name": f"{name}.jpg",
        "text": text,
    }


def _texts(value: Any) -> dict[str, str]:
    """What of this is text by text, cut to what is readable."""
    if not isinstance(value, dict):
        return {}
    return {role: name[:100] for role, name in value.items() if isinstance(name, str)}


def _key_header(found: Checked) -> str:
    return sealing.HEADERS[found.spec.provider][0] if found.own_key else ""


def _asked(order: Order, files: dict[str, str], key_header: str) -> Asked:
    images = [
        Image(role=one.role, place="" if one.text.startswith(REFERENCES) else one.text)
        for one in order.images
    ]
    return Asked(
        operation=order.operation,
        engine=order.engine,
        parameters=order.parameters,
        key_header=key_header,
        images=[_named(one, files) for one in images]
        + [Image(role=role, name=name) for role, name in _unsent(order, files)],
    )


def _named(image: Image, files: dict[str, str]) -> Image:
    name = files.get(image.role, "photo.jpg")
    return image if image.place else Image(role=image.role, name=name)


def _unsent(order: Order, files: dict[str, str]) -> list[tuple[str, str]]:
    sent = {one.role for one in order.images}
    return [
        (role, name)
        for role, name in files.items()
        if role not in sent and role in parsing.ROLES
    ]
