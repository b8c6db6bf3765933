"""The playground, from the picture to the download."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from nacl.public import PrivateKey
from PIL import Image
from playwright.sync_api import Page, expect

from gpu_worker.contract import EngineSpec, to_json
from jobs.engines import FRESH_S
from tests.browser.people import PATIENCE_MS, Person
from tests.flows.house import ROOT, House

PHOTO = ROOT / "nijika" / "local" / "photos" / "lemur.jpg"
DROP = """
([how, content, name]) => {
  const bytes = Uint8Array.from(atob(content), (one) => one.charCodeAt(0));
  const given = new DataTransfer();
  given.items.add(new File([bytes], name, { type: "" }));
  const event = how === "paste"
    ? new ClipboardEvent("paste", { clipboardData: given, bubbles: true })
    : new DragEvent("drop", { dataTransfer: given, bubbles: true, cancelable: true });
  (how === "paste" ? document.body : document.getElementById("drop"))
    .dispatchEvent(event);
}
"""
expect.set_options(timeout=PATIENCE_MS)


def give(page: Page, how: str, photo: Path = PHOTO) -> None:
    """Drop or paste the photo, as a browser would say it."""
    content = base64.b64encode(photo.read_bytes()).decode()
    page.evaluate(DROP, [how, content, photo.name])


def run(page: Page) -> None:
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_role("link", name="Download")).to_be_visible()


def test_from_drop_to_download(somebody: Person, tmp_path: Path) -> None:
    page = somebody.visit("/playground")
    expect(page.locator("#price")).to_have_text("0.01")
    give(page, "drop")
    expect(page.get_by_alt_text("The picture that you chose")).to_be_visible()
    run(page)
    expect(page.locator("#balance")).to_have_text("You have 49.99")
    with page.expect_download() as downloading:
        page.get_by_role("link", name="Download").click()
    with Image.open(downloading.value.path()) as cutout:
        assert (cutout.format, cutout.mode, cutout.size) == ("PNG", "RGBA", (680, 440))
        alpha = np.asarray(cutout)[..., 3]
        assert alpha[5, 5] == 0 and alpha[250, 340] > 200
    somebody.check_accessible()


def test_the_border_between_before_and_after_moves_by_keys(somebody: Person) -> None:
    page = somebody.visit("/playground")
    page.get_by_role("button", name="A lemur, in its fur").click()
    run(page)
    expect(page.get_by_role("button", name="Run", exact=True)).to_be_focused()
    border = page.get_by_label("Border between before and after")
    border.focus()
    page.keyboard.press("Home")
    assert page.evaluate("document.querySelector('.compare').style.cssText").count(
        "--cut: 0%"
    )
    expect(border).to_have_value("0")


def test_a_pasted_picture_is_taken(somebody: Person) -> None:
    page = somebody.visit("/playground")
    give(page, "paste")
    expect(page.locator("#file-facts")).to_contain_text("680")


def test_what_is_no_picture_is_refused_in_words(
    somebody: Person, tmp_path: Path
) -> None:
    page = somebody.visit("/playground")
    (tmp_path / "notes.txt").write_text("no picture")
    give(page, "drop", tmp_path / "notes.txt")
    expect(page.get_by_role("alert")).to_contain_text("notes.txt is no picture")


def test_a_wrong_parameter_is_said_beside_its_field(somebody: Person) -> None:
    page = somebody.visit("/playground")
    field = page.get_by_label("Background colour", exact=True)
    field.fill("no colour")
    box = page.locator('[data-field="bg_color"]')
    expect(box.locator(".error")).to_be_visible()
    expect(field).to_have_attribute("aria-invalid", "true")
    field.fill("tomato")
    expect(box.locator(".error")).to_have_count(0)


def test_a_damaged_picture_fails_in_plain_words_and_free(
    somebody: Person, tmp_path: Path
) -> None:
    page = somebody.visit("/playground")
    cut = tmp_path / "cut.png"
    whole = (ROOT / "tests/data/formats/png_16bit_rgba.png").read_bytes()
    cut.write_bytes(whole[:3000])
    give(page, "drop", cut)
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing was charged")
    expect(page.locator("#balance")).to_have_text("You have 50.00")


def test_points_are_pixels_of_the_picture(somebody: Person) -> None:
    page = somebody.visit("/playground?operation=smart-mask")
    page.get_by_role("button", name="A kettle and a mug").click()
    picture = page.get_by_alt_text("The picture that you chose")
    expect(picture).to_be_visible()
    box = picture.bounding_box()
    assert box is not None
    across, down = 430 / 640, 230 / 360
    page.mouse.click(box["x"] + across * box["width"], box["y"] + down * box["height"])
    expect(page.locator("#curl")).to_contain_text('"points"')
    told = re.search(r'"points": \[\[(\d+), (\d+)\]\]', page.inner_text("#curl"))
    assert told is not None
    assert abs(int(told[1]) - 430) <= 2 and abs(int(told[2]) - 230) <= 2
    run(page)


def test_too_few_credits_are_said_before_and_after(meet: Callable[..., Person]) -> None:
    page = meet(credits="0.005").visit("/playground")
    expect(page.locator("#balance")).to_have_text("You have only 0.005")
    page.get_by_role("button", name="A lemur, in its fur").click()
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("not enough credits")


def test_the_sandbox_is_free(somebody: Person) -> None:
    page = somebody.visit("/playground?mode=test&operation=generate")
    expect(page.locator("#price")).to_have_text("Free")
    run(page)
    expect(page.get_by_alt_text("The result")).to_be_visible()
    page.get_by_role("link", name="Details").click()
    expect(page.get_by_text("free (sandbox)")).to_be_visible()


@pytest.fixture
def shown(somebody: Person) -> dict[str, str]:
    """What is shown for programs, once a picture and a parameter are chosen."""
    page = somebody.visit("/playground")
    page.get_by_role("button", name="A lemur, in its fur").click()
    page.get_by_label("Background colour", exact=True).fill("tomato")
    expect(page.locator("#curl")).to_contain_text("tomato")
    expect(page.locator("#curl")).to_contain_text("@lemur.jpg")
    page.get_by_role("tab", name="Python").click()
    return {
        "curl": page.text_content("#curl") or "",
        "python": page.inner_text("#python"),
    }


def test_the_shown_requests_work_as_they_stand(
    somebody: Person, shown: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "lemur.jpg").write_bytes(PHOTO.read_bytes())
    environment = os.environ | {"NIJIKA_API_KEY": somebody.key()}
    curl = subprocess.run(
        ["/bin/sh", "-c", shown["curl"].replace("curl ", "curl -s ", 1)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        check=True,
    )
    job = json.loads(curl.stdout)
    assert job["status"] == "succeeded" and job["parameters"]["bg_color"] == "tomato"
    subprocess.run(
        [sys.executable, "-c", shown["python"]],
        cwd=tmp_path,
        env=environment,
        check=True,
    )
    with Image.open(io.BytesIO((tmp_path / "result-0.png").read_bytes())) as picture:
        assert picture.convert("RGB").getpixel((5, 5)) == (255, 99, 71)


def test_a_mask_is_painted_on_the_picture(somebody: Person) -> None:
    page = somebody.visit("/playground?operation=inpaint")
    page.get_by_role("button", name="A kettle and a mug").click()
    page.get_by_role("button", name="Paint it on the picture").click()
    canvas = page.get_by_label("The mask: drag to paint it")
    box = canvas.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] * 230 / 360
    page.mouse.move(box["x"] + box["width"] * 400 / 640, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 460 / 640, middle, steps=4)
    page.mouse.up()
    expect(page.locator("#curl")).to_contain_text("mask=@mask.png")
    run(page)
    back = page.get_by_role("button", name="Back to the picture")
    back.click()
    expect(page.get_by_alt_text("The picture that you chose")).to_be_visible()


KEY = "sk-of-the-client-4711"


@pytest.fixture
def hosted(home: House) -> Iterator[None]:
    """A provider's engine has reported that works with keys of clients' own alone."""
    spec = EngineSpec(
        operation="edit",
        engine="google",
        queue="remote",
        parameters={"type": "object", "properties": {}, "additionalProperties": False},
        provider="google",
        sealing_key=base64.b64encode(bytes(PrivateKey.generate().public_key)).decode(),
        unavailable="provider_key_missing",
    )
    home.sql(
        "INSERT INTO jobs_engine (operation, name, queue, spec)"
        " VALUES (%s, %s, %s, %s)",
        *("edit", "google", "remote", json.dumps(to_json(spec))),
    )
    yield
    home.sql("DELETE FROM jobs_engine WHERE name = 'google'")


@pytest.mark.usefixtures("hosted")
def test_an_own_key_pays_for_one_job_and_stays_nowhere(
    home: House, somebody: Person
) -> None:
    time.sleep(FRESH_S)
    page = somebody.visit("/playground?operation=edit")
    page.get_by_role("button", name="A lemur, in its fur").click()
    expect(page.locator("#engine-note")).to_contain_text("It takes one of your own")
    page.get_by_label("Your own Google key").fill(KEY)
    expect(page.locator("#price")).to_have_text("0.005")
    expect(page.locator("#engine-note")).to_be_hidden()
    expect(page.locator("#curl")).to_contain_text("X-Google-Api-Key: $GOOGLE_API_KEY")
    somebody.check_accessible()
    with page.expect_request("**/playground/jobs?mode=live") as sent:
        page.get_by_role("button", name="Run", exact=True).click()
    assert sent.value.headers["x-google-api-key"] == KEY
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#problem")).to_contain_text("Nothing was charged")
    [[own_key]] = home.sql(
        "SELECT own_key FROM jobs_job AS job JOIN accounts_user AS owner"
        " ON owner.id = job.user_id WHERE owner.email = %s",
        somebody.email,
    )
    assert own_key is True
    kept = "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])"
    assert KEY not in page.evaluate(kept)
    page.get_by_role("link", name="Details").click()
    page.go_back()
    expect(page.locator("#own-key")).to_have_value("")
