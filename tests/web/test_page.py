"""The page in headless Chromium: everything a visitor does, at both widths, light and dark."""

import json
import re

import hostile
import pytest
from studio_server import PATIENCE

pytestmark = pytest.mark.chromium
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture
def visit(studio, browser):
    """Opens the page as somebody new."""
    contexts = []

    def open_page(size=WIDE, query=""):
        context = browser.new_context(viewport=size, accept_downloads=True)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        page.asked = []
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(studio.url + query)
        page.wait_for_selector("#predict")
        return page

    yield open_page
    for context in contexts:
        context.close()


def pick(page, number=0):
    page.locator("#examples button").nth(number).click()
    page.wait_for_selector("#seen img")
    page.wait_for_function("document.querySelector('#states textarea').value !== ''")


def predict(page):
    before = page.locator("#strip").inner_html()
    page.click("#predict")
    page.wait_for_function("b => document.querySelector('#strip').innerHTML !== b", arg=before)
    page.wait_for_function("document.querySelector('#status').innerText.includes('seed')")


def wait_for(page, place, words):
    page.wait_for_function(
        "([place, words]) => document.querySelector(place).innerText.includes(words)",
        arg=[place, words],
    )


def frames_shown(page):
    return page.locator("#strip img").evaluate_all("all => all.map(one => one.src)")


def test_predict_change_the_instruction_edit_the_states_download(visit, screenshots, tmp_path):
    page = visit()
    pick(page)
    predict(page)
    first = frames_shown(page)
    assert len(first) == 3
    page.wait_for_function("document.querySelector('#video video').readyState >= 2")
    page.screenshot(path=screenshots / "predict_1280_light.png", full_page=True)
    page.locator("#instruction textarea, #instruction input").fill("lift the red ball")
    page.keyboard.press("Enter")
    wait_for(page, "#status", "Drawing")
    page.wait_for_function(
        "s => document.querySelectorAll('#strip img')[2].src !== s", arg=first[2]
    )
    assert "the red ball is held in the air" in page.locator("#states textarea").input_value()
    assert frames_shown(page)[0] == first[0]  # the given frame
    second = frames_shown(page)
    page.locator("#instruction textarea, #instruction input").fill("push the red ball to the left")
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
    page.locator("#instruction textarea, #instruction input").fill("lift the red ball")
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
    one.get_by_label("number input for Sampling steps").fill("100")
    one.keyboard.press("Tab")
    one.click("#predict")
    wait_for(one, "#status", "Drawing")
    two.click("#predict")
    wait_for(two, "#status", "Waiting: 1 request before yours")
    one.wait_for_selector("#status img")  # a preview
    one.screenshot(path=screenshots / "drawing_1280_light.png", full_page=True)
    one.click("#stop")
    wait_for(two, "#status", "seed 0")
    wait_for(one, "#status", "Stopped")
    one.get_by_label("number input for Sampling steps").fill("2")
    one.keyboard.press("Tab")
    predict(one)


@pytest.mark.parametrize(("size", "shade"), [(NARROW, "light"), (NARROW, "dark"), (WIDE, "dark")])
def test_it_fits_the_screen_in_light_and_dark(visit, screenshots, size, shade):
    page = visit(size, f"/?__theme={shade}")
    pick(page, 2)
    predict(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    page.screenshot(path=screenshots / f"predict_{size['width']}_{shade}.png", full_page=True)
    for tab in ("Compare", "Vote", "Data", "Runs"):
        page.get_by_role("tab", name=tab).click()
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    # Every piece of text that can be read stands out from what is behind it (WCAG AA: 4.5).
    page.get_by_role("tab", name="Studio").click()
    assert page.evaluate(CONTRAST) == []


def test_every_control_has_a_name_and_can_be_reached_by_keyboard(visit):
    page = visit()
    nameless = page.evaluate(
        """[...document.querySelectorAll('button, input, textarea, [role=tab]')].filter(one =>
            one.offsetParent && one.type !== 'file' && !one.innerText.trim() &&
            !one.getAttribute('aria-label') && !one.getAttribute('aria-labelledby') &&
            !(one.labels && one.labels.length) && !one.title && !one.querySelector('img[alt]')
        ).map(one => one.outerHTML.slice(0, 200))"""
    )
    assert nameless == []
    page.locator("#heading").click()
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "document.activeElement.closest('[id]:not(input):not(textarea):not(button)')?.id"
            )
        )
        reached.add(page.evaluate("document.activeElement.id"))
        if "predict" in reached:
            break
    assert {"examples", "instruction", "states", "keep", "predict"} <= reached
    page.locator("#examples button").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#seen img")
    page.locator("#predict").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#strip img")


CONTRAST = """() => {
  const parse = c => (c.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v =>
    v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((s, v, i) => s + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = e => {
    for (; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c.length && (c[3] === undefined || c[3] > 0.5)) return c;
    }
    return [255, 255, 255];
  };
  const bad = [];
  for (const e of document.querySelectorAll('#heading *, #asking *, #answering *')) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.offsetParent || e.closest('[disabled]')) continue;
    const [a, b] = [light(parse(getComputedStyle(e).color)), light(behind(e))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) bad.push(`${e.innerText.slice(0, 40)}: ${ratio.toFixed(1)}`);
  }
  return bad;
}"""
