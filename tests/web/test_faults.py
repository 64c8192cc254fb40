"""A request that crashes, and a visitor who leaves: others do not notice."""

import faulty_studio
import pytest
from visitor import pick, predict, say, wait_for

from aid.web.studio import CRASHED

pytestmark = pytest.mark.chromium


@pytest.mark.parametrize("words", [*faulty_studio.IN_SAMPLING, faulty_studio.IN_WRITING])
def test_a_crash_is_one_sentence_and_the_next_request_works(visit, studio, screenshots, words):
    page = visit()
    pick(page)
    say(page, words)
    page.keyboard.press("Enter")
    wait_for(page, "#status", CRASHED[1:])
    assert page.get_by_role("alert").count() == 1
    assert not [leak for leak in ("Traceback", faulty_studio.SECRET) if leak in page.content()]
    assert faulty_studio.SECRET in studio.log.read_text()  # the log has the details
    page.screenshot(path=screenshots / "crashed_1280_light.png", full_page=True)
    say(page, "lift the red ball")
    predict(page)


@pytest.mark.parametrize("way", ["closes the tab", "goes elsewhere"])
def test_a_visitor_who_leaves_while_a_video_is_drawn_delays_nobody(visit, way):
    """What the first visitor asked for would never end by itself."""
    one, two = visit(), visit()
    for page in (one, two):
        pick(page)
    say(one, faulty_studio.ENDLESS)
    one.click("#predict")
    wait_for(one, "#status", "Drawing")
    two.click("#predict")
    wait_for(two, "#status", "Waiting: 1 request before yours")
    if way == "closes the tab":
        one.close()
    else:
        one.goto("about:blank")
    wait_for(two, "#status", "seed 0")
