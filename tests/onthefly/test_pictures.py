"""Signed addresses on a running stack: what a browser gets."""

from __future__ import annotations

import base64
import io
from typing import Any

import pytest
from imgproxy import ImgProxy
from PIL import Image

from tests.flows.house import Answer, House, eventually
from tests.onthefly.conftest import PHOTOS, TIGER, Signer, get, image_of, signer_of
from tests.onthefly.origin import Origin

DAY_S = 86_400


def problem(answer: Answer, status: int, code: str) -> Any:
    """Check that this is a problem which nobody keeps."""
    assert (answer.status, answer.body["code"]) == (status, code), answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.body


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def result_of(home: House, *, key: str = "", **parameters: Any) -> str:
    """A succeeded job's id."""
    photo = PHOTOS / "animal_white_tiger.jpg"
    job_id = home.accepted("removebg", photo, key=key or None, **parameters)

    def ended() -> Any:
        job = home.job(job_id, key=key or None)
        return job if job["status"] == "succeeded" else None

    eventually(ended, within_s=30)
    return job_id


# Addresses


@pytest.mark.parametrize("kind", ["fill", "fit", "auto"])
def test_address_of_a_url_builder_from_pypi_is_served(
    home: House, owner: Signer, tiger: str, kind: str
) -> None:
    builder = ImgProxy(
        tiger,
        proxy_host=owner.base,
        key=owner.key,
        salt=owner.salt,
        width=200,
        height=100,
        resizing_type=kind,
        gravity="sm",
        extension="webp",
    )
    answer = get(home, builder("q:70"))
    image = image_of(answer)
    size = (200, 100) if kind != "fit" else (150, 100)
    assert (image.format, image.size) == ("WEBP", size)
    assert answer.headers["Content-Type"] == "image/webp"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Disposition"] == 'inline; filename="tiger.webp"'


def test_base_address_may_end_in_a_slash(
    home: House, owner: Signer, tiger: str
) -> None:
    builder = ImgProxy(
        tiger, proxy_host=f"{owner.base}/", key=owner.key, salt=owner.salt, width=80
    )
    signed = f"{owner.signature(f'/w:80/plain/{tiger}')}/w:80/plain/{tiger}"
    for address in (builder(), f"{owner.base}//{signed}"):
        assert f"{owner.base}//" in address
        assert image_of(get(home, address)).width == 80


def test_source_may_be_base64_in_pieces_or_plain(
    home: House, owner: Signer, tiger: str
) -> None:
    text = encoded(tiger)
    paths = [
        f"/w:80/{text}.png",
        f"/w:80/{text[:7]}/{text[7:20]}/{text[20:]}.png",
        f"/w:80/plain/{tiger}@png",
        f"/w:80/plain/{tiger.replace(':', '%3A').replace('/', '%2F')}@png",
        f"/w:80/f:png/plain/{tiger}",
    ]
    answers = [get(home, owner.url(path)) for path in paths]
    assert {image_of(answer).format for answer in answers} == {"PNG"}
    assert len({answer.headers["ETag"] for answer in answers}) == 1


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ("rs:fill:300:300/dpr:2", (400, 400)),
        ("rs:force:900:900", (400, 400)),
        ("rs:fill:9:1000:1", (9, 1000)),
        ("rs:fill:4000:1:1", (4000, 1)),
        ("c:0.5:0.5/h:55", (83, 55)),
    ],
)
def test_small_source_is_cut_to_the_shape_that_was_asked_for(
    owner: Signer, web: Origin, options: str, size: tuple[int, int]
) -> None:
    drawn = io.BytesIO()
    Image.new("RGB", (600, 400), "navy").save(drawn, "PNG")
    source = web.url("/small.png", drawn.getvalue())
    assert image_of(owner.get(options, source)).size == size


def test_sliver_is_enlarged_to_the_part_of_it_that_stays(
    owner: Signer, web: Origin
) -> None:
    drawn = io.BytesIO()
    Image.new("RGB", (2, 4000), "navy").save(drawn, "PNG")
    source = web.url("/sliver.png", drawn.getvalue())
    assert image_of(owner.get("rs:fill:1000:1000:1", source)).size == (1000, 1000)


def test_blank_in_a_sources_name_is_asked_for_as_it_was_written(
    home: House, owner: Signer, web: Origin
) -> None:
    """What `plain/` has decoded is one source with what base64 has kept."""
    url = web.url("/a%20tiger.jpg", TIGER)
    paths = [f"/w:80/plain/{url}@png", f"/w:80/{encoded(url)}.png"]
    answers = [get(home, owner.url(path)) for path in paths]
    assert [image_of(answer).format for answer in answers] == ["PNG", "PNG"]
    assert web.asked["/a%20tiger.jpg"] == 1


def test_address_without_a_format_keeps_the_sources_own(
    owner: Signer, web: Origin, tiger: str
) -> None:
    clear = (PHOTOS / "animal_lemur_fur.alpha.png").read_bytes()
    assert image_of(owner.get("w:50", tiger)).format == "JPEG"
    assert image_of(owner.get("w:50", web.url("/clear.png", clear))).format == "PNG"


@pytest.mark.parametrize(
    ("accept", "format"),
    [
        ("image/avif,image/webp,image/apng,*/*;q=0.8", "WEBP"),
        ("image/avif,*/*", "AVIF"),
        ("image/webp;q=0,image/*", "JPEG"),
        ("*/*", "JPEG"),
        ("", "JPEG"),
    ],
)
def test_format_auto_follows_accept_and_says_so(
    home: House, owner: Signer, tiger: str, accept: str, format: str
) -> None:
    answer = get(home, owner.plain("w:40", tiger, "auto"), Accept=accept)
    assert image_of(answer).format == format
    assert "Accept" in answer.headers["Vary"]


def test_options_that_name_the_way_out_are_kept(
    home: House, owner: Signer, tiger: str
) -> None:
    answer = owner.get("w:40/fn:cat/att:1/exp:32503680000", tiger, "png")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="cat.png"'
    problem(owner.get("w:40/exp:1000000000", tiger), 404, "not_found")


def test_head_answers_as_get_without_the_bytes(
    home: House, owner: Signer, tiger: str
) -> None:
    url = owner.plain("w:41", tiger, "jpg")
    head = home.call("HEAD", url)
    answer = get(home, url)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(len(answer.body))


def test_preset_is_applied(owner: Signer, tiger: str) -> None:
    assert image_of(owner.get("pr:thumb", tiger)).size == (60, 60)


# What is kept


def test_picture_asked_for_again_is_neither_fetched_nor_made(
    home: House, owner: Signer, web: Origin, tiger: str
) -> None:
    url = owner.plain("rs:fit:120:120", tiger, "jpg")
    first, asked = get(home, url), web.asked["/tiger.jpg"]
    eventually(lambda: _kept(home, first) or None, within_s=20)
    second = get(home, url)
    assert second.body == first.body
    assert web.asked["/tiger.jpg"] == asked
    for name in ("ETag", "Content-Type", "Content-Disposition"):
        assert second.headers[name] == first.headers[name]
    age = second.headers["Cache-Control"]
    assert age.startswith("public, max-age=604") and age.endswith(", immutable")
    matching = {"If-None-Match": first.headers["ETag"]}
    assert get(home, url, **matching).status == 304


def _kept(home: House, answer: Answer) -> bool:
    tag = answer.headers["ETag"].strip('"')
    query = "SELECT 1 FROM jobs_rendition WHERE sha256 LIKE %s || '%%' AND file <> ''"
    return bool(home.sql(query, tag))


def test_cachebuster_makes_a_picture_anew(
    home: House, owner: Signer, web: Origin, tiger: str
) -> None:
    owner.get("w:33/cb:1", tiger)
    asked = web.asked["/tiger.jpg"]
    owner.get("w:33/cb:2", tiger)
    assert web.asked["/tiger.jpg"] == asked + 1


def test_picture_that_is_over_is_made_from_the_source_as_it_is_now(
    home: House, owner: Signer, web: Origin
) -> None:
    url = owner.plain("w:30", web.url("/changes.jpg", TIGER), "png")
    before = get(home, url)
    web.url("/changes.jpg", (PHOTOS / "interior_bedroom.jpg").read_bytes())
    eventually(lambda: _kept(home, before) or None, within_s=20)
    tag = before.headers["ETag"].strip('"')
    home.sql(
        "UPDATE jobs_rendition SET expires_at = now() - interval '1 s'"
        " WHERE sha256 LIKE %s || '%%'",
        tag,
    )

    def changed() -> Answer | None:
        after = get(home, url)
        return after if after.headers["ETag"] != before.headers["ETag"] else None

    assert image_of(eventually(changed, within_s=20)).size == (30, 17)


def test_calls_are_free_and_counted(home: House, tiger: str) -> None:
    home.stack.manage("create_user", "counted@example.org", "--credits", "5")
    counted = signer_of(home, "counted@example.org")
    for _ in range(2):
        image_of(counted.get("w:77", tiger))

    def count() -> Any:
        rows = home.sql(
            "SELECT sum(made)::int, sum(made + served)::int FROM jobs_renditionuse"
            " JOIN accounts_user ON accounts_user.id = user_id WHERE email = %s",
            "counted@example.org",
        )
        return rows if rows == [(1, 2)] else None

    eventually(count, within_s=20)
    assert home.sql("SELECT count(*) FROM billing_entry WHERE kind = 'hold'") == [(0,)]


# Files of jobs


def test_cut_out_becomes_a_cropped_webp_by_one_address(
    home: House, owner: Signer
) -> None:
    job_id = result_of(home)
    answer = owner.get("c:0.8:0.8/rs:fit:300:300", f"job:{job_id}", "webp")
    image = image_of(answer)
    assert (image.format, image.mode, image.size) == ("WEBP", "RGBA", (300, 200))
    age_s = int(answer.headers["Cache-Control"].split("=")[1].split(",")[0])
    assert DAY_S - 300 < age_s <= DAY_S, "no longer than the job's files live"
    for part in ("/0", "/input"):
        assert owner.get("w:50", f"job:{job_id}{part}", "jpg").status == 200
    problem(owner.get("w:50", f"job:{job_id}/1", "jpg"), 404, "not_found")


def test_jobs_of_others_of_test_keys_and_of_nobody_are_not_there(
    home: House, owner: Signer, stranger: Signer
) -> None:
    mine = result_of(home)
    test_key = home.stack.manage("create_key", "you@example.org", "--test")
    tested = result_of(home, key=test_key)
    texts = [
        problem(stranger.get("w:50", f"job:{mine}"), 404, "not_found")["detail"],
        problem(owner.get("w:50", f"job:{tested}"), 404, "not_found")["detail"],
        problem(owner.get("w:50", f"job:{mine[:-4]}0000"), 404, "not_found")["detail"],
    ]
    assert len(set(texts)) == 1
    problem(owner.get("w:50", "job:../../etc/passwd"), 400, "validation_error")


@pytest.mark.parametrize("part", ["source", "watermark"])
def test_pictures_of_an_erased_job_are_gone_with_it(
    home: House, owner: Signer, tiger: str, part: str
) -> None:
    job_id = result_of(home)
    if part == "source":
        url = owner.plain("w:64", f"job:{job_id}", "webp")
    else:
        mark = base64.urlsafe_b64encode(f"job:{job_id}".encode()).decode()
        url = owner.plain(f"w:64/wm:0.5:ce/wmu:{mark.rstrip('=')}", tiger, "webp")
    made = get(home, url)
    assert made.status == 200
    eventually(lambda: _kept(home, made) or None, within_s=20)
    assert home.call("DELETE", f"/api/v1/jobs/{job_id}").status == 204
    assert not _kept(home, made)
    gone = eventually(lambda: _if(get(home, url), 404), within_s=20)
    problem(gone, 404, "not_found")


def _if(answer: Answer, status: int) -> Answer | None:
    return answer if answer.status == status else None


# Who may


def test_signature_of_anything_else_is_refused_before_anything_is_read(
    home: House, owner: Signer, stranger: Signer, web: Origin, tiger: str
) -> None:
    path = f"/w:90/plain/{tiger}@jpg"
    right = owner.signature(path)
    wrong = [
        f"{owner.base}/{stranger.signature(path)}{path}",
        f"{owner.base}/{right[:-1]}{path}",
        f"{owner.base}/{right}={path}",
        f"{owner.base}/{right.swapcase()}{path}",
        f"{owner.base}/insecure{path}",
        f"{owner.base}/unsafe{path}",
        f"{owner.base}/{right}{path.replace('w:90', 'w:91')}",
        f"{owner.base}/{right}{path.replace('tiger', 'tigeR')}",
        f"{owner.base}/{right}{path.replace('@jpg', '@png')}",
        f"{owner.base}/{right}/bl:1{path}",
        f"{owner.base}/{right}{path}/",
        f"{owner.base}x/{right}{path}",
        f"{stranger.base}/{right}{path}",
        f"{owner.base}/{right}/no/such:option/plain/",
    ]
    asked = web.asked["/tiger.jpg"]
    texts = {problem(get(home, url), 403, "forbidden")["detail"] for url in wrong}
    assert len(texts) == 1
    assert web.asked["/tiger.jpg"] == asked


def test_query_is_no_part_of_an_address(home: House, owner: Signer, tiger: str) -> None:
    url = owner.plain("w:52", tiger, "jpg")
    assert image_of(get(home, f"{url}?w=4000&signature=x")).size == (52, 35)


def test_rotated_key_ends_what_the_old_one_signed(home: House) -> None:
    home.stack.manage("create_user", "rotating@example.org")
    old = signer_of(home, "rotating@example.org")
    path = "/w:1/plain/job:0"
    assert get(home, old.url(path)).status == 400
    new = signer_of(home, "rotating@example.org", "--rotate")
    assert (new.base, new.key != old.key, new.salt != old.salt) == (
        old.base,
        True,
        True,
    )
    eventually(lambda: _if(get(home, old.url(path)), 403), within_s=20)
    assert get(home, new.url(path)).status == 400


def test_suspended_account_signs_nothing(home: House, tiger: str) -> None:
    home.stack.manage("create_user", "ended@example.org")
    signer = signer_of(home, "ended@example.org")
    made = signer.get("w:20", tiger)
    eventually(lambda: _kept(home, made) or None, within_s=20)
    file = f"/api/images/files/{_key(home, made)}.jpg"
    assert get(home, file).body == made.body
    home.sql(
        "UPDATE accounts_user SET suspended_at = now() WHERE email = %s",
        "ended@example.org",
    )
    refused = eventually(lambda: _if(signer.get("w:20", tiger), 403), within_s=20)
    problem(refused, 403, "account_suspended")
    problem(get(home, file), 404, "not_found")


def _key(home: House, answer: Answer) -> str:
    tag = answer.headers["ETag"].strip('"')
    query = "SELECT key FROM jobs_rendition WHERE sha256 LIKE %s || '%%' AND user_id ="
    latest = "(SELECT max(user_id) FROM jobs_rendition)"
    [(key,)] = home.sql(f"{query} {latest}", tag)
    return str(key)


# What goes wrong


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/x.jpg",
        "http://localhost:22/x.jpg",
        "http://127.1/x.jpg",
        "http://[::1]/x.jpg",
        "http://[::ffff:127.0.0.1]/x.jpg",
        "http://0x7f000001/x.jpg",
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/x.jpg",
        "http://user:password@example.org/x.jpg",
        "ftp://example.org/x.jpg",
        "file:///etc/passwd",
        "/etc/passwd",
        "local:///etc/passwd",
        "s3://bucket/key",
    ],
)
def test_source_inside_is_refused(owner: Signer, url: str) -> None:
    answer = get(owner.home, owner.url(f"/w:50/{encoded(url)}.jpg"))
    problem(answer, 400, "url_not_allowed")


def test_redirect_to_the_inside_is_refused(owner: Signer, web: Origin) -> None:
    web.redirects["/away.jpg"] = "http://127.0.0.1:22/"
    answer = owner.get("w:50", web.url("/away.jpg"))
    problem(answer, 400, "url_not_allowed")


def test_origin_that_fails_is_a_bad_gateway(owner: Signer, web: Origin) -> None:
    body = problem(owner.get("w:50", web.url("/missing.jpg")), 502, "fetch_failed")
    assert "404" in body["detail"]


def test_source_that_is_no_picture_or_too_large_is_refused(
    owner: Signer, web: Origin
) -> None:
    formats = PHOTOS.parent / "formats"
    bomb = (formats / "gif_decompression_bomb.gif").read_bytes()
    broken = (formats / "png_broken.png").read_bytes()
    page = web.url("/page.html", b"<html>no picture</html>")
    problem(owner.get("w:50", page), 422, "invalid_image")
    problem(owner.get("w:50", web.url("/broken.png", broken)), 422, "invalid_image")
    problem(owner.get("w:50", web.url("/bomb.gif", bomb)), 400, "limit_exceeded")
    problem(
        owner.get("w:50/pd:4000:4000:4000", web.url("/t.jpg", TIGER)),
        400,
        "limit_exceeded",
    )


@pytest.mark.parametrize(
    "path",
    ["/w:1000000/plain/a", "/raw:1/plain/a", "/w:1", "/w:1/%ff", "/w:1/a.b.c", "//"],
)
def test_path_that_describes_nothing_is_refused(owner: Signer, path: str) -> None:
    problem(get(owner.home, owner.url(path)), 400, "validation_error")


@pytest.mark.parametrize(
    "name",
    [
        "0" * 64 + ".jpg",
        "0" * 64,
        "0" * 63 + ".jpg",
        "0" * 64 + ".exe",
        "..%2f..%2f..%2fetc%2fpasswd",
        "%2e%2e%2fjobs",
        "..",
        "." * 64 + ".jpg",
        "A" * 64 + ".jpg",
        "0" * 64 + ".jpg%00.png",
        "0" * 64 + ".jpg%0a",
    ],
)
def test_file_of_another_shape_is_not_there(home: House, name: str) -> None:
    problem(get(home, f"/api/images/files/{name}"), 404, "not_found")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_pictures_are_only_read(owner: Signer, method: str) -> None:
    answer = owner.home.call(method, owner.plain("w:1", "job:0"), body=b"")
    problem(answer, 405, "method_not_allowed")
