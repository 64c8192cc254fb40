"""The page in headless Chromium: everything that a visitor does."""

import json
import re

import hostile
import pytest
from visitor import frames_shown, pick, predict, say, wait_for

pytestmark = pytest.mark.chromium


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
    page.click("#say")
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
    page.locator("#lines textarea").fill("lift the red ball\npush it left")
    for tab, button, captions in [
        ("Instructions", "Compare instructions", ["lift the red ball", "push it left"]),
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


def test_a_vote_is_blind_until_it_is_cast(visit, studio, screenshots):
    page = visit()
    pick(page)
    page.get_by_role("tab", name="Vote").click()
    sides = set()
    for _ in range(2):
        page.click("#draw-pair")
        page.wait_for_function("document.querySelectorAll('#pair video').length === 2")
        page.wait_for_function("!document.querySelector('#vote-left').disabled")
        text = page.locator("#pair").inner_text() + page.locator("#vote-status").inner_text()
        assert not [
            word for word in ("one", "rival", "Left was") if re.search(rf"\b{word}\b", text)
        ]
        heights = page.locator("#pair video").evaluate_all("all => all.map(v => v.videoHeight)")
        assert heights[0] == heights[1]
        page.screenshot(path=screenshots / "vote_1280_light.png", full_page=True)
        page.click("#vote-left")
        wait_for(page, "#vote-status", "Thank you")
        row = json.loads(studio.votes.read_text().splitlines()[-1])
        told = page.locator("#vote-status").inner_text()
        assert f"Left was {row['left']['name']}" in told
        assert re.search(r"wins \d+ % of \d+ decided vote", told)
        assert row["winner"] == row["left"]["key"]
        assert row["left"]["guidance_interval"] == [0, None] and row["states"] is None
        assert {row["left"]["name"][-3:], row["right"]["name"][-3:]} == {"one", "val"}
        sides.add(row["left"]["name"])
        page.wait_for_function("document.querySelector('#vote-left').disabled")


def test_data_and_runs_can_be_looked_at(visit, screenshots):
    page = visit()
    page.get_by_role("tab", name="Data").click()
    page.locator("#search textarea, #search input").fill("left push-2")
    page.locator("#row input").click()
    page.wait_for_function("document.querySelectorAll('[role=option]').length === 1")
    assert "push-2: push the red ball left" in page.get_by_role("option").inner_text()
    page.get_by_role("option").first.click()
    page.wait_for_selector("#row-states img")
    assert page.locator("#row-states tr").count() == 2
    assert page.locator("#row-states tr").first.locator("img").count() == 3
    page.screenshot(path=screenshots / "data_1280_light.png", full_page=True)
    page.get_by_role("tab", name="Runs").click()
    page.locator("#document input").click()
    names = page.get_by_role("option").all_inner_texts()
    assert sorted(name.strip("✓ \n") for name in names) == ["first/report.html", "first/report.md"]
    page.get_by_role("option", name="report.html").click()
    page.wait_for_selector("#report iframe[sandbox]")
    page.frame_locator("#report iframe").get_by_text("The report").wait_for()
    assert page.title() == "AID studio"
    page.locator("#document input").click()
    page.get_by_role("option", name="report.md").click()
    wait_for(page, "#report", "<img src=x onerror=alert(1)>")  # as text


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
        page.set_input_files("#frame input[type=file]", tmp_path / name)
        wait_for(page, "#seen", words)
        page.click("#predict")
        wait_for(page, "#status", words)
        page.get_by_label("Clear").first.click()
        wait_for(page, "#seen", "")
    page.screenshot(path=screenshots / "refused_1280_light.png", full_page=True)
    (tmp_path / "large.png").write_bytes(bytes(3_000_000))
    page.set_input_files("#frame input[type=file]", tmp_path / "large.png")
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
