"""The page in headless Chromium: everything that a visitor does."""

import re

import hostile
import pytest
from visitor import NARROW, WIDE, frames_shown, pick, predict, say, wait_for

pytestmark = pytest.mark.chromium


def test_the_first_click_on_predict_draws_a_video(visit, screenshots):
    page = visit()
    page.screenshot(path=screenshots / "open_1280_light.png", full_page=True)
    assert page.locator("#instruction textarea, #instruction input").input_value()
    assert page.locator("#states textarea").input_value()
    assert page.locator("#seen img").count() == 1
    page.click("#predict")
    wait_for(page, "#status", "seed 0")
    assert len(frames_shown(page)) == 3


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_nothing_covers_the_icon_of_the_drop_zone(visit, size):
    page = visit(size)
    icon = page.locator("#drop button svg").first
    icon.scroll_into_view_if_needed()
    box = icon.bounding_box()
    for x in (box["x"] + 1, box["x"] + box["width"] - 1):
        for y in (box["y"] + 1, box["y"] + box["height"] - 1):
            top = f"document.elementFromPoint({x}, {y})"
            assert page.evaluate(f"document.querySelector('#drop button').contains({top})")


def test_an_uploaded_frame_replaces_the_example(visit, picture, tmp_path):
    page = visit()
    example = page.locator("#seen img").get_attribute("src")
    for number in range(2):  # the drop zone is there for the next file, too
        (tmp_path / f"{number}.png").write_bytes(picture)
        page.set_input_files("#drop input[type=file]", tmp_path / f"{number}.png")
        page.wait_for_function("s => document.querySelector('#seen img').src !== s", arg=example)
    assert not page.locator("#ideas").is_visible()
    predict(page)


def test_predict_change_the_instruction_edit_the_states_download(visit, screenshots, tmp_path):
    page = visit()
    pick(page)
    predict(page)
    first = frames_shown(page)
    assert len(first) == 3
    page.wait_for_function("document.querySelector('#video video').readyState >= 2")
    page.screenshot(path=screenshots / "predict_1280_light.png", full_page=True)
    say(page, "lift the red ball")
    page.keyboard.press("Enter")
    wait_for(page, "#status", "Drawing")
    page.wait_for_function(
        "s => document.querySelectorAll('#strip img')[2].src !== s", arg=first[2]
    )
    assert "the red ball is held in the air" in page.locator("#states textarea").input_value()
    assert frames_shown(page)[0] == first[0]  # the given frame
    second = frames_shown(page)
    say(page, "push the red ball to the left")
    page.click("#write")
    page.wait_for_function("document.querySelector('#states textarea').value.includes('pushes')")
    page.locator("#keep input").check()
    page.locator("#states textarea").fill("drop it")
    page.click("#predict")
    wait_for(page, "#status", "states by caller")
    assert page.locator("#states textarea").input_value() == "drop it"
    assert frames_shown(page)[2] != second[2]
    for kind, head in (("mp4", b"ftyp"), ("gif", b"GIF89a"), ("png", b"PNG")):
        with page.expect_download() as download:
            page.click(f"#download-{kind}")
        download.value.save_as(tmp_path / kind)
        assert head in (tmp_path / kind).read_bytes()[:16]
    foreign = [url for url in page.asked if not url.startswith(("data:", "blob:"))]
    assert {re.match(r"https?://([^/]*)", url).group(1).split(":")[0] for url in foreign} == {
        "127.0.0.1"
    }


def test_comparisons_are_shown_side_by_side(visit, screenshots):
    page = visit()
    pick(page, 1)
    page.get_by_role("tab", name="Compare").click()
    page.locator("#lines textarea").fill("lift the red ball\npush the red can to the left")
    for tab, button, captions in [
        (
            "Instructions",
            "Compare instructions",
            ["lift the red ball", "push the red can to the left"],
        ),
        ("True, shuffled, empty", "Compare true", ["true", "shuffled", "empty"]),
        ("s_V x s_T", "Draw the grid", ["s_V 1, s_T 1", "s_V 1, s_T 2", "s_V 1.5, s_T 1"]),
        ("Two checkpoints", "Compare checkpoints", ["one", "rival"]),
    ]:
        page.get_by_role("tab", name=tab).click()
        page.get_by_role("button", name=button).click()
        wait_for(page, "#cells", captions[0])
        shown = page.locator("#cells figcaption b").all_inner_texts()
        assert all(any(words in one for one in shown) for words in captions), shown
        page.wait_for_function(
            "[...document.querySelectorAll('#cells video')].every(v => v.readyState >= 2)"
        )
    page.screenshot(path=screenshots / "compare_1280_light.png", full_page=True)
    sizes = page.locator("#cells video").evaluate_all("all => all.map(v => v.videoHeight)")
    assert sizes == [64, 32]
    with page.expect_download() as download:
        page.click("#download-cells")
    assert download.value.suggested_filename.endswith(".png")


def test_bad_uploads_get_a_sentence_and_the_page_goes_on(visit, tmp_path, screenshots):
    page = visit()
    files = {
        "page.png": (hostile.FORBIDDEN["page.png"], "neither an image nor a video"),
        "bomb.png": (hostile.png(30000, 30000), "too many pixels"),
        "torn.png": (hostile.png(64, 64, data=b"junk"), "damaged"),
    }
    say(page, "lift the red ball")
    for name, (content, words) in files.items():
        (tmp_path / name).write_bytes(content)
        page.set_input_files("#drop input[type=file]", tmp_path / name)
        wait_for(page, "#seen", words)
        page.click("#predict")
        wait_for(page, "#status", words)
    page.screenshot(path=screenshots / "refused_1280_light.png", full_page=True)
    (tmp_path / "large.png").write_bytes(bytes(3_000_000))
    page.set_input_files("#drop input[type=file]", tmp_path / "large.png")
    page.get_by_text(re.compile("too large|exceeds|maximum", re.IGNORECASE)).first.wait_for()
    page.reload()
    pick(page)
    predict(page)


def test_two_visitors_are_both_served_and_one_can_stop(visit, screenshots):
    one, two = visit(), visit()
    for page in (one, two):
        pick(page)
    one.get_by_role("button", name="Settings").click()
    one.get_by_label("number input for Sampling steps").fill("5000")
    one.keyboard.press("Tab")
    one.click("#predict")
    wait_for(one, "#status", "Drawing")
    two.click("#predict")
    wait_for(two, "#status", "Waiting: 1 request before yours")
    one.wait_for_selector("#status img")  # a preview
    one.screenshot(path=screenshots / "drawing_1280_light.png", full_page=True)
    one.click("#stop")
    wait_for(one, "#status", "Stopped")
    wait_for(two, "#status", "seed 0")
    assert "Stopped" in one.locator("#status").inner_text()  # no news came after it
    one.get_by_label("number input for Sampling steps").fill("2")
    one.keyboard.press("Tab")
    predict(one)
