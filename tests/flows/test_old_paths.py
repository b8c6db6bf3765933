"""Old clients replayed over HTTP on a running stack: docs/old-paths.md, row by row."""

from __future__ import annotations

import socketserver
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.flows.house import House, eventually, house
from tests.flows.old_clients import (
    OldClient,
    encoded,
    opened,
    photo,
    spot_mask,
    text,
)

PHOTO = photo()
SIZE = opened(PHOTO).size
MASK = spot_mask(SIZE)


@pytest.fixture(scope="module")
def stack() -> Iterator[House]:
    """A house as a newcomer has it, whose light paths wait for seconds only."""
    settings = {
        "NIJIKA_FACE_TIMEOUT": "8s",
        "NIJIKA_FETCH_ALLOWED_HOSTS": "127.0.0.1",
    }
    with (
        tempfile.TemporaryDirectory(prefix="nijika-house-") as folder,
        house(Path(folder), settings=settings) as built,
    ):
        yield built
        built.check_ledger()


@pytest.fixture(scope="module")
def live(stack: House) -> OldClient:
    return OldClient(stack, stack.new_user())


@pytest.fixture(scope="module")
def tester(stack: House) -> OldClient:
    return OldClient(stack, stack.new_user(test=True))


@pytest.fixture(scope="module")
def image_server() -> Iterator[str]:
    """The address of a photo on a web server."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/photo.jpg" else 404)
            self.send_header("Content-Length", str(len(PHOTO)))
            self.end_headers()
            self.wfile.write(PHOTO)

        def log_message(self, *words: Any) -> None: ...

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=[0.05], daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/photo.jpg"
    server.shutdown()
    server.server_close()


def refused(answer: Any, status: int, code: str) -> dict[str, Any]:
    """Check a refusal's envelope: ours, and the members that old clients look at."""
    assert (answer.status, answer.body["code"]) == (status, code), answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = answer.body
    assert body["error"] and body["error_type"] and body["detail"]
    assert body["request_id"] == answer.headers["X-Request-Id"]
    assert body["status"] == status
    return body


def fields_of(answer: Any) -> set[str]:
    return {one["field"] for one in answer.body["errors"]}


# Rows 1, 3, 9, 58: /removebg


@pytest.mark.parametrize("path", ["/api/removebg", "/removebg"])
def test_removebg_of_an_upload_streams_a_png_with_alpha(
    live: OldClient, path: str
) -> None:
    answer = live.form(path, [("image", PHOTO)])

    assert (answer.status, answer.headers["Content-Type"]) == (200, "image/png")
    image = opened(answer.body)
    assert (image.mode, image.size) == ("RGBA", SIZE)
    assert image.getchannel("A").getextrema() == (0, 255)
    assert answer.headers["X-Credits-Charged"] == "0.0100"


def test_removebg_by_url(live: OldClient, image_server: str) -> None:
    answer = live.post("/api/removebg", {"url": image_server})

    assert (answer.status, opened(answer.body).size) == (200, SIZE)


def test_removebg_refusals_have_the_old_statuses(live: OldClient) -> None:
    post = live.post
    assert fields_of_400(post("/api/removebg", {})) == {"url"}
    both = {"url": "https://example.org/a", "image": text(PHOTO)}
    assert fields_of_400(post("/api/removebg", both)) == {"image"}
    assert fields_of_400(live.form("/api/removebg", [("photo", PHOTO)])) == {"image"}
    refused(live.form("/api/removebg", [("image", b"no image")]), 415, UNSUPPORTED)
    refused(post("/api/removebg", {"url": "http://10.0.0.1/a"}), 400, "url_not_allowed")
    wrong = post("/api/removebg", {"url": "x"}, Content_Type="text/plain")
    refused(wrong, 415, UNSUPPORTED)
    unread = live._send("POST", "/api/removebg", b"{", {"Content-Type": JSON})
    refused(unread, 400, "malformed_body")
    refused(live.get("/api/removebg"), 405, "method_not_allowed")


UNSUPPORTED, JSON = "unsupported_media_type", "application/json"


def fields_of_400(answer: Any) -> set[str]:
    refused(answer, 400, "validation_error")
    return fields_of(answer)


def test_url_that_cannot_be_fetched_is_the_workers_error(
    live: OldClient, image_server: str
) -> None:
    missing = image_server.replace("photo", "nothing")

    body = refused(live.post("/api/removebg", {"url": missing}), 502, "fetch_failed")

    assert live.get(f"/api/v1/jobs/{body['job_id']}").body["charged"] == "0.0000"


def test_removebg_needs_a_key_and_credits(stack: House) -> None:
    nobody = OldClient(stack, "")
    refused(nobody.form("/api/removebg", [("image", PHOTO)]), 401, "unauthenticated")
    poor = OldClient(stack, stack.new_user(credits="0"))
    body = refused(
        poor.form("/removebg", [("image", PHOTO)]), 402, "insufficient_credits"
    )
    assert (body["needed"], body["available"]) == ("0.0100", "0.0000")


def test_the_same_idempotency_key_pays_once(stack: House) -> None:
    client = OldClient(stack, stack.new_user(credits="1"))
    files = [("image", PHOTO)]
    headers = {"Idempotency-Key": "once"}

    first = client.form("/api/removebg", files, headers=headers)
    again = client.form("/api/removebg", files, headers=headers)

    assert first.body == again.body
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["X-Credits-Remaining"] == "0.9900"


# Row 2: /upscale


@pytest.mark.parametrize("path", ["/api/upscale", "/upscale"])
def test_upscale_of_an_upload_is_a_jpeg_four_times_as_large(
    live: OldClient, path: str
) -> None:
    small = photo(side_px=80)
    answer = live.form(path, [("image", small)])

    assert (answer.status, answer.headers["Content-Type"]) == (200, "image/jpeg")
    assert opened(answer.body).size == tuple(4 * side for side in opened(small).size)
    assert answer.headers["X-Credits-Charged"] == "0.0200"


def test_upscale_takes_its_options_in_both_forms(
    live: OldClient, image_server: str
) -> None:
    small = photo(side_px=80)
    form = live.form("/upscale", [("image", small)], scale="2", face_enhance="0")
    nulls = {"url": image_server, "scale": 2, "model": None, "face_enhance": None}

    assert opened(form.body).size == tuple(2 * side for side in opened(small).size)
    assert opened(live.post("/api/upscale", nulls).body).size == (
        tuple(2 * side for side in SIZE)
    )


def test_upscale_refuses_what_no_engine_here_does(live: OldClient) -> None:
    for fields, field in [
        ({"scale": "7"}, "scale"),
        ({"scale": "two"}, "scale"),
        ({"model": "RealESRGAN_x4plus"}, "model"),
        ({"face_enhance": "true"}, "face_enhance"),
        ({"tile": "1"}, "tile"),
    ]:
        answer = live.form("/api/upscale", [("image", PHOTO)], **fields)
        assert fields_of_400(answer) == {field}


def test_photo_too_large_to_be_upscaled_is_the_senders_to_shrink(
    live: OldClient,
) -> None:
    large = encoded(Image.new("RGB", (2000, 1500)), "PNG")
    answer = live.form("/api/upscale", [("image", large)], scale="6")
    refused(answer, 400, "limit_exceeded")
    sizes = {"width": "7000", "dpr": "8", "enlarge": "true"}
    answer = live.form("/api/image-utils/resize", [("image", large)], **sizes)
    refused(answer, 400, "limit_exceeded")


# Rows 53, 54, 57, 58: /edit and /providers


@pytest.mark.parametrize("path", ["/api/removebg", "/api/image-utils/canny"])
def test_one_image_may_be_called_images(live: OldClient, path: str) -> None:
    assert live.form(path, [("images", PHOTO)]).status == 200
    assert live.post(path, {"images": [text(PHOTO)]}).status == 200
    several = live.form(path, [("image", PHOTO), ("images", PHOTO)])
    assert fields_of(several) == {"image"}


@pytest.mark.parametrize("name", ["image", "images", "images[]"])
def test_edit_takes_either_name_and_furnishes_without_a_prompt(
    tester: OldClient, name: str
) -> None:
    answer = tester.form("/api/edit", [(name, PHOTO)], prompt="  ")

    assert answer.status == 200, answer.body
    assert answer.headers["Content-Type"].startswith("image/")
    assert opened(answer.body).size


def test_edit_of_several_images(tester: OldClient) -> None:
    files = [("images", PHOTO), ("images", photo("animal_white_tiger.jpg"))]

    assert tester.form("/api/edit", files, prompt="put it there").status == 200
    assert fields_of_400(tester.form("/api/edit", files * 3)) == {"images"}


@pytest.mark.parametrize("name", ["google", "Nano-Banana", "fal:fal-ai/flux-kontext"])
def test_providers_of_the_older_system_are_the_sandbox_to_a_test_key(
    tester: OldClient, live: OldClient, name: str
) -> None:
    answer = tester.form("/api/edit", [("images", PHOTO)], provider=name)
    assert (answer.status, answer.headers["X-Sandbox"]) == (200, "true")
    refused(
        live.form("/api/edit", [("images", PHOTO)], provider=name),
        404,
        "provider_not_found",
    )


def test_no_input_is_handed_back_as_success(tester: OldClient) -> None:
    """What the older system did without a provider's key: here the sandbox answers, and
    says so."""
    answer = tester.form("/api/edit", [("image", PHOTO)])

    assert answer.headers["X-Sandbox"] == "true"
    assert answer.headers["X-Credits-Charged"] == "0.0000"
    assert opened(answer.body).tobytes() != opened(PHOTO).tobytes()


def test_edit_without_an_engine_is_an_error_and_costs_nothing(live: OldClient) -> None:
    body = refused(
        live.form("/api/edit", [("image", PHOTO)], prompt="x"),
        503,
        "engine_unavailable",
    )
    assert body["error_type"] == "provider_error"


def test_edit_refusals_have_the_old_codes(tester: OldClient) -> None:
    missing = tester.form("/api/edit", prompt="x")
    assert refused(missing, 400, "validation_error")["error_type"] == "invalid_input"
    text_file = tester.form("/api/edit", [("image", b"hello")])
    assert refused(text_file, 400, UNSUPPORTED)["error_type"] == "invalid_input"
    broken = tester.form("/api/edit", [("image", b"\x89PNG\r\n\x1a\n" + b"0" * 50)])
    body = refused(broken, 400, "invalid_image")
    assert body["error_type"] == "image_processing_error"
    unknown = tester.form("/api/edit", [("image", PHOTO)], provider="Goggle")
    body = refused(unknown, 404, "provider_not_found")
    assert body["available"] == ["sandbox"]


def test_upload_beyond_the_limit_is_413(tester: OldClient) -> None:
    answer = tester.form("/api/edit", [("image", PHOTO + bytes(50_000_001))])
    refused(answer, 413, "payload_too_large")


@pytest.mark.parametrize("path", ["/api/providers", "/api/v1/providers"])
def test_providers_are_an_object_or_an_array(tester: OldClient, path: str) -> None:
    known = tester.get(path).body

    assert (known["default"], known["available"]) == ("sandbox", ["sandbox"])
    assert tester.get(f"{path}?format=array").body == ["sandbox"]
    accept = {"Accept": "application/json; format=array"}
    assert tester.get(path, **accept).body == ["sandbox"]


def test_providers_of_a_live_key_are_those_that_are_there(live: OldClient) -> None:
    known = live.get("/api/providers").body

    assert (known["default"], known["available"]) == ("qwen-image-edit", [])


# Rows 22, 23, 25: /generate


def generation(**changes: Any) -> dict[str, Any]:
    """A removal as the older editor sends it."""
    return {
        "prompt": "remove the object",
        "input_image": f"data:image/jpeg;base64,{text(PHOTO)}",
        "conditional_images": [text(MASK)],
        "reference_image": None,
        "num_inference_steps": 15,
        "guidance_scale": 2.0,
        "true_cfg_scale": 2.0,
        "negative_prompt": " ",
        "seed": 42,
        "task_type": "removal",
        "input_quality": "original",
        "mask_tool_type": "brush",
        "enable_mae_refinement": True,
        "refine_mask_with_birefnet": True,
        "enable_debug": False,
        "enable_flowmatch_scheduler": None,
        "angle": "top-down",
        "background_preset": "",
    } | changes


def test_generate_answers_with_the_old_members(tester: OldClient) -> None:
    answer = tester.post("/api/generate", generation(), X_Request_Id="mine-1")

    assert answer.status == 200, answer.body
    body = answer.body
    assert body["success"] is True
    image = opened(body["image"])
    assert (image.format, image.size) == ("PNG", SIZE)
    assert body["model_used"] == "sandbox_removal"
    assert body["parameters_used"]["steps"] == 15
    assert body["parameters_used"]["seed"] == 42
    assert body["parameters_used"]["angle"] == "top-down"
    assert "scene" not in body["parameters_used"]
    assert body["request_id"] == "mine-1"
    assert body["generation_time"] >= 0
    assert body["debug_info"]["input_image_size"] == f"{SIZE[0]}x{SIZE[1]}"


def test_generate_streams_the_picture_where_accept_asks_for_it(
    tester: OldClient,
) -> None:
    wanted = {"prompt": "a lighthouse", "width": 256, "height": 320}
    answer = tester.post("/api/generate", wanted, Accept="image/png")

    assert answer.headers["Content-Type"] == "image/png"
    assert opened(answer.body).size == (256, 320)


def test_tool_of_the_mask_means_nothing_where_there_is_no_mask(
    tester: OldClient,
) -> None:
    wanted = generation(task_type="white-balance", conditional_images=[])
    answer = tester.post("/api/generate", wanted, Accept="image/png")

    assert (answer.status, opened(answer.body).size) == (200, SIZE)


def test_generate_names_what_is_wrong_as_the_client_named_it(
    tester: OldClient,
) -> None:
    for changes, field in [
        ({"num_inference_steps": 101}, "num_inference_steps"),
        ({"true_cfg_scale": "4"}, "true_cfg_scale"),
        ({"task_type": "painting"}, "task_type"),
        ({"angle": "from-the-moon"}, "angle"),
        ({"background_preset": "mars"}, "background_preset"),
        ({"enable_flowmatch_scheduler": True}, "enable_flowmatch_scheduler"),
        ({"input_image": "§"}, "input_image"),
        ({"conditional_images": None}, "conditional_images"),
        ({"task_type": "insertion"}, "reference_image"),
        ({"lora": "x"}, "lora"),
    ]:
        answer = tester.post("/api/generate", generation(**changes))
        body = refused(answer, 422, "validation_error")
        assert fields_of(answer) == {field}
        assert body["detail"].startswith(f"{field} ")
        assert body["service"] == "generation"


def test_same_picture_with_three_numbers_of_steps(tester: OldClient) -> None:
    """Row 32: one request, three pictures, and a repeat makes no more of them."""
    path = "/api/generate/multi-steps"
    wanted = generation(num_inference_steps=7, seed=None)
    key = {"Idempotency-Key": "compared"}
    first = tester.post(path, wanted, **key)
    again = tester.post(path, wanted, **key)

    assert first.status == 200, first.body
    results = first.body["results"]
    assert [one["num_inference_steps"] for one in results] == [5, 10, 25]
    assert {opened(one["image"]).size for one in results} == {SIZE}
    jobs = [tester.get(f"/api/v1/jobs/{one['task_id']}").body for one in results]
    assert len({job["id"] for job in jobs}) == 3
    assert {job["parameters"]["seed"] for job in jobs} == {42}
    assert first.headers["X-Sandbox"] == "true"
    assert (again.body["results"], again.body["batch_id"]) == (
        results,
        first.body["batch_id"],
    )
    assert again.headers["Idempotency-Replayed"] == "true"


def test_comparison_is_refused_or_fails_as_a_whole(
    tester: OldClient, live: OldClient
) -> None:
    path = "/api/generate/multi-steps"
    for changes, field in [
        ({"true_cfg_scale": 99}, "true_cfg_scale"),
        ({"input_image": text(b"\x89PNG\r\n\x1a\n" + b"0" * 50)}, "input_image"),
    ]:
        answer = tester.post(path, generation(**changes))
        assert answer.status in (400, 422)
        assert fields_of(answer) == {field}
    failing = generation(prompt="__fail_engine_failed__")
    refused(tester.post(path, failing), 500, "engine_failed")
    refused(live.post(path, generation()), 503, "engine_unavailable")


def test_task_from_its_acceptance_to_its_picture(tester: OldClient) -> None:
    answer = tester.post("/api/generate/async", generation())
    assert (answer.status, answer.body["status"]) == (200, "queued"), answer.body
    assert answer.body["message"]
    task = answer.body["task_id"]

    def look() -> Any:
        state = tester.get(f"/api/generate/status/{task}").body
        assert state["status"] in STATES
        return state if state["status"] == "done" else None

    state = eventually(look, within_s=20)
    assert state.keys() >= {"task_id", "progress", "error", "current_step"}
    assert (state["task_id"], state["progress"], state["error"]) == (task, 1.0, None)
    result = tester.get(f"/api/generate/result/{task}").body
    assert (result["task_id"], result["status"]) == (task, "done")
    assert "debug_info" in result
    image = tester.get(f"/api/generate/result-image/{task}")
    assert opened(image.body).tobytes() == opened(result["image"]).tobytes()
    assert image.headers["Cache-Control"].startswith("private")


STATES = {"queued", "initializing_a100", "loading_pipeline", "processing", "done"}


def test_task_that_is_not_done_failed_or_unknown(
    tester: OldClient, live: OldClient
) -> None:
    slow = tester.post("/api/generate/async", {"prompt": "sea __delay_20s__"}).body
    task = slow["task_id"]
    refused(tester.get(f"/api/generate/result/{task}"), 400, "task_not_done")
    refused(tester.get("/api/generate/status/nobody"), 404, "not_found")
    refused(live.get(f"/api/generate/status/{task}"), 404, "not_found")
    refused(live.post(f"/api/generate/async/cancel/{task}"), 404, "not_found")
    done = tester.post(f"/api/generate/async/cancel/{task}").body
    assert (done["success"], done["task_id"]) == (True, task)
    state = tester.get(f"/api/generate/status/{task}").body
    assert state["status"] == "cancelled"
    refused(tester.get(f"/api/generate/result/{task}"), 400, "job_cancelled")


def test_task_that_failed_is_500_with_its_text(tester: OldClient) -> None:
    prompt = "sea __fail_out_of_memory__"
    task = tester.post("/api/generate/async", {"prompt": prompt}).body["task_id"]

    def look() -> Any:
        state = tester.get(f"/api/generate/status/{task}").body
        return state if state["status"] == "error" else None

    state = eventually(look, within_s=20)
    assert (state["progress"], bool(state["error"])) == (0.0, True)
    body = refused(tester.get(f"/api/generate/result/{task}"), 500, "out_of_memory")
    assert body["error"] == state["error"]


def test_work_that_somebody_waits_for_is_cancelled_by_their_own_request_id(
    tester: OldClient,
) -> None:
    answers: list[Any] = []

    def ask() -> None:
        wanted = {"prompt": "sea __delay_30s__"}
        answers.append(tester.post("/api/generate", wanted, X_Request_Id="mine-2"))

    asking = threading.Thread(target=ask)
    asking.start()

    def cancel() -> bool | None:
        return tester.post("/api/generate/cancel/mine-2").status == 200 or None

    eventually(cancel, within_s=10)
    asking.join()
    body = refused(answers[0], 400, "job_cancelled")
    job = tester.get(f"/api/v1/jobs/{body['job_id']}").body
    assert (job["status"], job["charged"]) == ("cancelled", "0.0000")


# Rows 33 to 37: /image-utils


def utility(client: OldClient, name: str, **members: Any) -> Any:
    answer = client.post(f"/api/image-utils/{name}", {"image": text(PHOTO)} | members)
    assert answer.status == 200, answer.body
    assert (answer.body["success"], answer.body["error"]) == (True, None)
    return answer.body


def test_extract_object_on_a_white_square(live: OldClient) -> None:
    image = opened(utility(live, "extract-object", mask=text(MASK))["extracted_image"])

    assert (image.mode, image.size) == ("RGB", (512, 512))
    assert image.getpixel((0, 0)) == (255, 255, 255)


def test_extract_object_transparent(live: OldClient) -> None:
    found = utility(live, "extract-object", mask=text(MASK), mode="transparent")
    image = opened(found["extracted_image"])

    assert (image.mode, image.size) == ("RGBA", SIZE)
    assert image.getpixel((0, 0))[3] == 0


def test_extract_object_of_an_empty_mask_is_400(live: OldClient) -> None:
    empty = spot_mask(SIZE, share=0)
    body = {"image": text(PHOTO), "mask": text(empty)}
    answer = live.post("/api/image-utils/extract-object", body)

    assert refused(answer, 400, "invalid_parameters")["success"] is False


def test_shadow_preview_on_light_grey(live: OldClient) -> None:
    square = utility(live, "extract-object", mask=text(MASK))["extracted_image"]
    answer = live.post(
        "/api/image-utils/add-shadow-preview",
        {"extracted_image": square, "mask": None, "shadow_opacity": 0.4},
    )

    assert answer.status == 200, answer.body
    preview = opened(answer.body["preview_image"])
    assert (preview.mode, preview.size) == ("RGB", (512, 512))


@pytest.mark.parametrize("path", ["mae", "inpaint"])
def test_mae_picture_fills_the_hole_alone(live: OldClient, path: str) -> None:
    found = utility(live, path, mask=text(MASK), radius=3)
    image, before = opened(found["image"]).convert("RGB"), opened(PHOTO)

    assert image.size == SIZE
    assert image.getpixel((2, 2)) == before.getpixel((2, 2))
    assert image.tobytes() != before.tobytes()


def test_canny_with_thresholds_and_without(live: OldClient) -> None:
    fixed = opened(
        utility(live, "canny", low_threshold=100, high_threshold=200)["image"]
    )
    automatic = opened(utility(live, "canny")["image"])

    assert fixed.size == automatic.size == SIZE
    assert set(fixed.convert("L").tobytes()) == {0, 255}
    assert fixed.tobytes() != automatic.tobytes()


def test_resize_crop_and_encode_by_form_and_by_json(live: OldClient) -> None:
    files = [("image", PHOTO)]
    small = live.form("/api/image-utils/resize", files, width="100", format="png")
    assert (small.headers["Content-Type"], opened(small.body).width) == (
        "image/png",
        100,
    )
    square = utility(live, "crop", width=50, height=50, gravity="north")
    assert opened(square["image"]).size == (50, 50)
    webp = live.form("/api/image-utils/encode", files, format="webp", quality="50")
    assert webp.headers["Content-Type"] == "image/webp"


def test_white_balance_answers_as_it_is_asked(live: OldClient) -> None:
    path, files = "/api/white-balance", [("file", PHOTO)]
    form = live.form(path, files, method="manual", temperature="30", tint="-5")
    as_json = live.form(path, files, headers={"Accept": "application/json"})
    image = live.post(path, {"image": text(PHOTO)}, Accept="image/*")

    assert opened(form.body).size == opened(image.body).size == SIZE
    assert opened(as_json.body["corrected_image"]).size == SIZE


def test_image_utility_names_an_unknown_field(live: OldClient) -> None:
    files = [("image", PHOTO)]
    answer = live.form("/api/image-utils/resize", files, width="100", colour="red")

    assert (answer.status, fields_of(answer)) == (422, {"colour"})


# Rows 38, 39: /smart-mask

CAR = photo(side_px=400)
MIDDLE = [side / 2 for side in opened(CAR).size]


def masked(client: OldClient, **members: Any) -> dict[str, Any]:
    answer = client.post("/api/smart-mask", members)
    assert answer.status == 200, answer.body
    body: dict[str, Any] = answer.body
    assert (body["success"], body["error"]) == (True, None)
    return body


def test_second_click_names_the_image_by_its_id(live: OldClient) -> None:
    first = masked(live, image=text(CAR), points=[MIDDLE], bbox=None, mask=None)
    mask = opened(first["mask_base64"])
    assert (mask.format, mask.mode, mask.size) == ("PNG", "L", opened(CAR).size)
    assert mask.getpixel((round(MIDDLE[0]), round(MIDDLE[1]))) > 127

    grown = masked(live, image_id=first["image_id"], points=[MIDDLE],
                   border_adjustment=6, use_blur=True)  # fmt: skip
    third = masked(live, image_id=grown["image_id"], bbox=[-5, -5, 200, 200])

    assert grown["image_id"] == third["image_id"] == first["image_id"]
    assert sum(opened(grown["mask_base64"]).tobytes()) > sum(mask.tobytes())


def test_oldest_clients_grow_the_mask_by_dilate_amount(live: OldClient) -> None:
    first = masked(live, image=text(CAR), points=[MIDDLE])
    again = {"image_id": first["image_id"], "points": [MIDDLE]}
    grown = masked(live, **again, dilate_amount=10)

    assert (
        grown["mask_base64"]
        == masked(live, **again, border_adjustment=10)["mask_base64"]
    )
    assert grown["mask_base64"] != first["mask_base64"]


def test_points_go_before_a_box(live: OldClient) -> None:
    known = masked(live, image=text(CAR), points=[MIDDLE])
    both = {"points": [MIDDLE], "bbox": [0, 0, 20, 20], "auto_detect": True}
    again = masked(live, image_id=known["image_id"], **both)

    assert again["mask_base64"] == known["mask_base64"]


def test_image_id_is_its_owners_alone(
    stack: House, live: OldClient, tester: OldClient
) -> None:
    image_id = masked(live, image=text(CAR), auto_detect=True)["image_id"]
    stranger = OldClient(stack, stack.new_user())
    for client in (stranger, tester):
        answer = client.post(
            "/api/smart-mask", {"image_id": image_id, "points": [[1, 1]]}
        )
        assert refused(answer, 404, "not_found")["service"] == "segmentation"
    unknown = {"image_id": "nobody", "points": [[1, 1]]}
    refused(live.post("/api/smart-mask", unknown), 404, "not_found")


def test_smart_mask_refusals_are_400(live: OldClient) -> None:
    for members, field in [
        ({"points": [[1, 2]]}, "image"),
        ({"image": text(CAR)}, "points"),
        ({"image": text(CAR), "bbox": [1, 2, 3]}, "bbox"),
        ({"image": text(CAR), "points": [[1, 2, 3]]}, "points.0"),
        ({"image": text(CAR), "points": [[1, 2]], "model_type": "sam"}, "model_type"),
        (
            {"image": text(CAR), "points": [[1, 2]], "model_type": "birefnet"},
            "model_type",
        ),
        ({"image": text(CAR), "points": [[1, 2]], "prompt": "a car"}, "prompt"),
    ]:
        answer = live.post("/api/smart-mask", members)
        assert fields_of_400(answer) == {field}


def test_guidance_mask(live: OldClient) -> None:
    body = masked(live, image=text(CAR), mask=text(spot_mask(opened(CAR).size)))
    assert max(opened(body["mask_base64"]).tobytes()) > 127


def test_detect_says_200_whether_there_is_a_mask_or_not(
    stack: House, live: OldClient
) -> None:
    found = live.post("/api/smart-mask/detect", {"image": text(CAR)})
    assert (found.status, found.body["success"]) == (200, True)
    assert opened(found.body["mask"]).size == opened(CAR).size
    broken = live.post("/api/smart-mask/detect", {"image": text(b"no image")})
    assert (broken.status, broken.body["success"]) == (200, False)
    assert (broken.body["mask"], bool(broken.body["error"])) == (None, True)
    nobody = OldClient(stack, "")
    refused(nobody.post("/api/smart-mask/detect", {}), 401, "unauthenticated")


# Row 59: time


def test_light_call_that_takes_too_long_is_408_and_costs_nothing(
    stack: House, live: OldClient
) -> None:
    with stack.standing("worker"):
        body = {"image": text(PHOTO)}
        answer = live.post("/api/image-utils/canny", body)

    job_id = refused(answer, 408, "timeout")["job_id"]
    job = live.get(f"/api/v1/jobs/{job_id}").body
    assert (job["status"], job["charged"]) == ("cancelled", "0.0000")


# Rows 19, 20: health


def test_health_in_the_old_words(stack: House) -> None:
    nobody = OldClient(stack, "")
    assert nobody.get("/health").body == {"status": "ok"}
    assert nobody.get("/api/health").body["status"] == "healthy"
    report = nobody.get("/api/system/health").body
    assert (report["status"], report["service"]) == ("healthy", "api_gateway")
    services = report["services"]
    assert services["image_utils"]["status"] == "healthy"
    assert services["generation"]["status"] == "unknown"
    assert services["database"]["status"] == "healthy"


# Waiting, while parts of the house die


def test_who_waits_gets_the_end_although_control_is_killed(
    stack: House, live: OldClient
) -> None:
    answers: list[Any] = []

    def ask() -> None:
        answers.append(live.form("/api/removebg", [("image", PHOTO)]))

    with stack.standing("worker"):
        asking = threading.Thread(target=ask)
        asking.start()
        eventually(lambda: live.get("/api/v1/jobs?status=queued").body["items"] or None,
                   within_s=10)  # fmt: skip
        stack.kill("control")
    stack.supervise()
    asking.join()
    assert answers[0].status == 200


def test_web_killed_while_somebody_waits_costs_them_nothing_twice(
    stack: House,
) -> None:
    client = OldClient(stack, stack.new_user(credits="1"))
    headers = {"Idempotency-Key": "again"}

    def ask() -> Any:
        return client.form("/api/removebg", [("image", PHOTO)], headers=headers)

    with stack.standing("worker"):
        fate = threading.Timer(1.5, stack.kill, ["web"])
        fate.start()
        with pytest.raises(OSError):
            ask()
        fate.join()

    def again() -> Any:
        stack.supervise()
        return ask()

    answer = eventually(again, within_s=60)
    assert answer.status == 200
    assert answer.headers["X-Credits-Remaining"] == "0.9900"
