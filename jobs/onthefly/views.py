"""Pictures over HTTP: signed paths, the older addresses, and files by their key."""

from __future__ import annotations

import hmac
import re
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.views import View

from accounts import image_keys
from accounts.authentication import authenticate, require_scope
from accounts.errors import AccountSuspended
from accounts.image_keys import Holder
from jobs.errors import FileMissing
from jobs.onthefly import options, paths, queries, renditions, sources, use
from jobs.onthefly.errors import BadRequest, Saturated, SignatureWrong
from jobs.onthefly.flights import Flight, Made, Order
from jobs.onthefly.options import Rules
from jobs.onthefly.recipes import Wish
from jobs.onthefly.renditions import EXTENSIONS, Draft, Kept
from jobs.onthefly.sources import Located, Source
from jobs.onthefly.studio import studio
from jobs.results import matches
from jobs.storage import store
from nijika import raw_paths
from nijika.continuation import finish, send_file
from nijika.errors import NotFound

REDIRECT_AGE_S = 60
"""Less than a presigned URL lives."""
SIGNATURE = "signature"
ACCOUNT = "account"
_FILE = re.compile(rf"([0-9a-f]{{64}})\.({'|'.join(EXTENSIONS.values())})", re.ASCII)
Response = TypeVar("Response", bound=HttpResponseBase)
_ODD = re.compile(r"[^\w.\- ]+")


class ExpiredAddress(NotFound):
    """This address has expired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request for a picture. `public`: any cache may keep the answer."""

    user_id: int
    test: bool
    wish: Wish
    source: Source
    public: bool
    redirect: bool = False


class PictureView(View):
    """`/img/{account}/{signature}/{options}/{source}`."""

    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest) -> HttpResponseBase:
        signed = paths.split(raw_paths.of(request))
        holder = signer(signed.account, signed.signature, signed.path.encode("latin-1"))
        wish, text = _described(signed.path, rules())
        ask = Ask(
            user_id=holder.user_id,
            test=False,
            wish=wish,
            source=sources.read(text),
            public=True,
        )
        return answer(request, ask)


class ResizeView(View):
    """`/api/images/resize` and `/api/v1/resize`, with a key or a signature."""

    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest) -> HttpResponseBase:
        query = _query(request)
        if SIGNATURE in query:
            user_id, test, public = _signer_of_query(request, query), False, True
        else:
            caller = authenticate(request.META)
            require_scope(caller, "jobs:write")
            user_id, test, public = caller.user_id, caller.test, False
        asked = queries.asked(query)
        ask = Ask(
            user_id=user_id,
            test=test,
            wish=asked.wish,
            source=sources.read(asked.source),
            public=public,
            redirect=asked.redirect,
        )
        return answer(request, ask)


class FileView(View):
    """`/api/images/files/{key}`: for whoever knows the key, which cannot be guessed."""

    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest, name: str) -> HttpResponseBase:
        match = _FILE.fullmatch(name)
        kept = renditions.find(match[1]) if match else None
        if kept is None or kept.name != name or not image_keys.is_active(kept.user_id):
            raise NotFound
        use.served(kept.user_id)
        try:
            return _sent(request, kept, _Dress(until=kept.until, name=name))
        except (FileNotFoundError, FileMissing):
            renditions.lost(kept)
            raise NotFound from None


def signer(account: str, signature: str, message: bytes) -> Holder:
    """Who has signed this. Raises SignatureWrong and AccountSuspended."""
    holder = image_keys.find(account)
    # Nobody's key takes as long as somebody's.
    pair = holder.pair if holder else _NOBODY
    expected = urlsafe_b64encode(pair.signature(message)).rstrip(b"=")
    right = hmac.compare_digest(expected, signature.encode("utf-8", "replace"))
    if holder is None or not right:
        raise SignatureWrong
    if not holder.active:
        raise AccountSuspended
    return holder


def rules() -> Rules:
    """The settings' rules, as they are now."""
    return _rules(
        tuple(settings.ONTHEFLY_PRESETS.items()), tuple(settings.ONTHEFLY_OPTIONS)
    )


def answer(request: HttpRequest, ask: Ask) -> HttpResponseBase:
    """The picture: as it was kept, or once it is made."""
    wish = ask.wish
    if wish.expires and wish.expires <= time.time():
        raise ExpiredAddress
    recipe = wish.recipe
    if wish.by_accept:
        recipe = replace(recipe, format=accepted(request.META.get("HTTP_ACCEPT", "")))
    mark = sources.read(wish.watermark_url) if wish.watermark_url else None
    parameters = recipe.members()
    key = renditions.key_of(
        user=ask.user_id,
        test=ask.test,
        source=ask.source.text,
        mark=mark.text if mark else "",
        recipe=parameters,
        bust=wish.bust,
    )
    if kept := renditions.find(key):
        try:
            shown = _shown(request, ask, kept)
            use.served(ask.user_id)
            return shown
        except (FileNotFoundError, FileMissing):
            renditions.lost(kept)
    prepare = partial(_order, ask, mark, key, parameters)
    return _made(request, ask, studio().offer(key, ask.user_id, prepare))


def accepted(header: str) -> str:
    """The best format that this Accept names itself, else `plain`.

    WebP comes before AVIF: it is a little larger and made twenty times faster.
    """
    named = {}
    for part in header.lower().split(","):
        kind, *parameters = (text.strip() for text in part.split(";"))
        named[kind] = not any(_is_zero(text) for text in parameters)
    for kind in ("webp", "avif"):
        if named.get(f"image/{kind}"):
            return kind
    return "plain"


def _is_zero(parameter: str) -> bool:
    return re.fullmatch(r"q\s*=\s*0(\.0*)?", parameter) is not None


def _order(
    ask: Ask, mark: Source | None, key: str, parameters: Mapping[str, Any]
) -> Order:
    located = [
        sources.locate(source, user_id=ask.user_id, test=ask.test)
        for source in (ask.source, mark)
        if source is not None
    ]
    draft = Draft(
        key=key,
        user_id=ask.user_id,
        source_job=ask.source.job_id,
        mark_job=mark.job_id if mark else None,
        until=_until(located),
    )
    return Order(draft=draft, sources=located, parameters=dict(parameters))


def _until(located: list[Located]) -> float | None:
    ends = [one.until for one in located if one.until is not None]
    return min(ends, default=None)


# Answers


def _shown(request: HttpRequest, ask: Ask, kept: Kept) -> HttpResponseBase:
    if ask.redirect:
        return _redirect(kept)
    extension = EXTENSIONS[kept.content_type]
    return _sent(request, kept, _dress_of(ask, kept.until, extension))


def _made(request: HttpRequest, ask: Ask, flight: Flight) -> HttpResponseBase:
    if ask.redirect:
        return finish(request, flight.kept, _redirected)

    def render(made: Made) -> HttpResponse:
        extension = EXTENSIONS[made.content_type]
        dress = _dress_of(ask, made.until, extension)
        response = HttpResponse(made.content, content_type=made.content_type)
        if matches(request, _entity_tag(made.sha256)):
            response = HttpResponse(status=304)
        return dress.on(response, made.sha256)

    return finish(request, flight.made, render)


def _redirected(kept: Kept | None) -> HttpResponse:
    if kept is None:
        raise Saturated
    return _redirect(kept)


def _redirect(kept: Kept) -> HttpResponse:
    response = HttpResponse(status=302)
    response["Location"] = f"{settings.PUBLIC_URL}/api/images/files/{kept.name}"
    response["Cache-Control"] = "no-store"
    return response


def _sent(request: HttpRequest, kept: Kept, dress: _Dress) -> HttpResponseBase:
    """The file by the front, or the way to it. Raises FileNotFoundError, also for one
    that a crash has cut short."""
    if matches(request, _entity_tag(kept.sha256)):
        return dress.on(HttpResponse(status=304), kept.sha256)
    path = store().path(kept.file)
    if path is None:
        return _sent_by_store(kept, dress)
    if path.stat().st_size != kept.size_bytes:
        raise FileNotFoundError(path)
    response = send_file(request, path, content_type=kept.content_type)
    return dress.on(response, kept.sha256)


def _sent_by_store(kept: Kept, dress: _Dress) -> HttpResponse:
    url = store().download_url(
        kept.file,
        filename=dress.name,
        content_type=kept.content_type,
        disposition=dress.disposition,
        cache_control=dress.cache_control,
    )
    response = HttpResponse(status=302)
    response["Location"] = url or ""
    age_s = min(REDIRECT_AGE_S, dress.age_s)
    response["Cache-Control"] = f"{dress.scope}, max-age={age_s}"
    if dress.by_accept:
        response["Vary"] = "Accept"
    return response


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dress:
    """The headers of a picture."""

    until: float
    name: str
    public: bool = True
    by_accept: bool = False
    attachment: bool = False

    @property
    def age_s(self) -> int:
        return max(0, int(self.until - time.time()))

    @property
    def scope(self) -> str:
        return "public" if self.public else "private"

    @property
    def cache_control(self) -> str:
        return f"{self.scope}, max-age={self.age_s}, immutable"

    @property
    def disposition(self) -> str:
        return "attachment" if self.attachment else "inline"

    def on(self, response: Response, sha256: str) -> Response:
        response["ETag"] = _entity_tag(sha256)
        response["Cache-Control"] = self.cache_control
        response["X-Content-Type-Options"] = "nosniff"
        if self.by_accept:
            response["Vary"] = "Accept"
        if response.status_code == 304:
            del response["Content-Type"]  # Django's own; the picture's still holds
        else:
            disposition = f'{self.disposition}; filename="{self.name}"'
            response["Content-Disposition"] = disposition
        return response


def _dress_of(ask: Ask, until: float, extension: str) -> _Dress:
    if ask.wish.expires:
        until = min(until, ask.wish.expires)
    return _Dress(
        until=until,
        name=f"{_stem(ask)}.{extension}",
        public=ask.public,
        by_accept=ask.wish.by_accept,
        attachment=ask.wish.attachment,
    )


def _stem(ask: Ask) -> str:
    """A file's name without its ending: what was asked for, or the source's own."""
    if ask.wish.filename:
        name = ask.wish.filename
    elif ask.source.job_id is not None:
        name = str(ask.source.job_id)[-12:]
    else:
        name = unquote(urlsplit(ask.source.text).path.rpartition("/")[2])
        name = name.rpartition(".")[0] or name
    return _ODD.sub("_", name).encode("ascii", "replace").decode()[:100] or "image"


def _entity_tag(sha256: str) -> str:
    return f'"{sha256[:32]}"'


# Requests


@lru_cache(maxsize=4096)
def _described(path: str, rules: Rules) -> tuple[Wish, str]:
    found = paths.described(path)
    wish = options.wish_of(found.options, found.extension, rules)
    return wish, found.source


@lru_cache(maxsize=4)
def _rules(presets: tuple[tuple[str, str], ...], allowed: tuple[str, ...]) -> Rules:
    return Rules(
        presets=presets, allowed=frozenset(options.canonical(one) for one in allowed)
    )


def _query(request: HttpRequest) -> dict[str, str]:
    """The query, each name once. Raises BadRequest."""
    query = {}
    for name, values in request.GET.lists():
        if len(values) > 1:
            raise BadRequest(f"{name[:40]} is given more than once.")
        query[name] = values[0]
    return query


def _signer_of_query(request: HttpRequest, query: dict[str, str]) -> int:
    """Who signed path and query, up to `&signature=…` at the end; takes both names out.

    Raises SignatureWrong and AccountSuspended.
    """
    text, _, signature = request.META.get("QUERY_STRING", "").rpartition("&signature=")
    if query.pop(SIGNATURE) != signature:
        raise SignatureWrong  # it is not the last, so something is not signed
    message = f"{raw_paths.of(request)}?{text}".encode("latin-1", "replace")
    return signer(query.pop(ACCOUNT, ""), signature, message).user_id


_NOBODY = image_keys.KeyPair(key="00" * 32, salt="00" * 32)
