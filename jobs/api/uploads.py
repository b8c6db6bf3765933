"""Uploads over HTTP: announce a file, send it, look at it, discard it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO, cast

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from jobs.api import parsing, wishes
from jobs.api.base import ApiView
from jobs.api.rendering import API, answer, time_text
from jobs.errors import BadFields, FieldError, UploadNotFound
from jobs.files import upload_links, uploads
from jobs.models import Upload
from jobs.parsing import strict_json
from jobs.requests.inputs import UPLOAD, job_id_of
from nijika.errors import Malformed

TYPES: Mapping[str, tuple[type, str]] = {
    "content_type": (str, "must be of type string"),
    "size_bytes": (int, "must be of type integer"),
}


class UploadsView(ApiView):
    scopes = {"POST": "jobs:write"}

    def post(self, request: HttpRequest) -> HttpResponse:
        body = checked(parsing.json_object(request))
        announced = uploads.announce(
            user_id=self.caller.user_id,
            test=self.caller.test,
            content_type=body["content_type"],
            size_bytes=body["size_bytes"],
            idempotency_key=wishes.idempotency_key(request),
        )
        response = answer(upload_view(announced.upload), status=201)
        response["Location"] = _own_url(announced.upload)
        if announced.replayed:
            response["Idempotency-Replayed"] = "true"
        return response


class UploadView(ApiView):
    scopes = {"GET": "jobs:read", "DELETE": "jobs:write"}

    def get(self, request: HttpRequest, upload_id: str) -> HttpResponse:
        return answer(upload_view(uploads.find(_id_of(upload_id), **self.owner)))

    def delete(self, request: HttpRequest, upload_id: str) -> HttpResponse:
        uploads.discard(_id_of(upload_id), **self.owner)
        return HttpResponse(status=204)

    @property
    def owner(self) -> dict[str, Any]:
        return {"user_id": self.caller.user_id, "test": self.caller.test}


@method_decorator(csrf_exempt, name="dispatch")  # no cookie is looked at
class SentView(View):
    """The file itself, by a signed address, from whoever has it."""

    http_method_names = ["put", "options"]

    def put(self, request: HttpRequest, upload_id: str) -> HttpResponse:
        signed = upload_links.check(request.path, request.META.get("QUERY_STRING", ""))
        size_bytes = int(request.META.get("CONTENT_LENGTH") or 0)
        if size_bytes != signed.size_bytes:
            what = f"must be {signed.size_bytes}, as announced"
            raise BadFields(FieldError("Content-Length", "size", what))
        with uploads.spooled(
            cast(BinaryIO, request), most_bytes=signed.size_bytes
        ) as file:
            _check_complete(file, signed.size_bytes)
            upload = uploads.receive(
                _id_of(upload_id),
                file,
                content_type=request.META.get("CONTENT_TYPE", ""),
            )
        return answer(upload_view(upload))


def _check_complete(file: BinaryIO, size_bytes: int) -> None:
    if file.seek(0, 2) != size_bytes:
        raise Malformed("The body is cut short.")
    file.seek(0)


def checked(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """What announces an upload. Raises BadFields for anything else."""
    problems = [
        FieldError(strict_json.printable(name), "unknown", "is not a member here")
        for name in body
        if name not in TYPES
    ]
    for name, (kind, message) in TYPES.items():
        if name not in body:
            problems.append(FieldError(name, "required", "is missing"))
        elif type(body[name]) is not kind:
            problems.append(FieldError(name, "type", message))
    if problems:
        raise BadFields(*problems[:20])
    return body


def upload_view(upload: Upload) -> dict[str, Any]:
    is_ready = upload.ready_at is not None
    return {
        "id": str(upload.pk),
        "reference": f"{UPLOAD}{upload.pk}",
        "status": "ready" if is_ready else "waiting",
        "test": upload.test,
        "content_type": upload.content_type,
        "size_bytes": upload.size_bytes,
        "width_px": upload.width_px or None,
        "height_px": upload.height_px or None,
        "sha256": upload.sha256 or None,
        "created_at": time_text(upload.created_at),
        "expires_at": time_text(upload.expires_at),
        "send": None if is_ready else _sending(upload),
        "urls": {"self": _own_url(upload)},
    }


def _sending(upload: Upload) -> dict[str, Any]:
    """The request that brings the file."""
    return {
        "method": "PUT",
        "url": uploads.url(upload),
        "headers": {
            "Content-Type": upload.content_type,
            "Content-Length": str(upload.size_bytes),
        },
        "expires_at": time_text(upload.send_by),
    }


def _own_url(upload: Upload) -> str:
    return f"{settings.PUBLIC_URL}{API}/uploads/{upload.pk}"


def _id_of(text: str) -> Any:
    upload_id = job_id_of(text)
    if upload_id is None:
        raise UploadNotFound
    return upload_id
