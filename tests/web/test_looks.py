"""How the page looks and is reached: both widths, light and dark, labels, keyboard."""

import pytest
from visitor import NARROW, WIDE, pick, predict

pytestmark = pytest.mark.chromium


@pytest.mark.parametrize(("size", "shade"), [(NARROW, "light"), (NARROW, "dark"), (WIDE, "dark")])
def test_it_fits_the_screen_in_light_and_dark(visit, screenshots, size, shade):
    page = visit(size, f"/?__theme={shade}")
    pick(page, 1)
    predict(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    page.screenshot(path=screenshots / f"predict_{size['width']}_{shade}.png", full_page=True)
    # Every piece of text that can be read stands out from what is behind it (WCAG AA: 4.5).
    assert page.evaluate(CONTRAST) == []
    for tab in ("Compare",):
        page.get_by_role("tab", name=tab).click()
        page.screenshot(
            path=screenshots / f"{tab.lower()}_{size['width']}_{shade}.png", full_page=True
        )
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        assert page.evaluate(CONTRAST) == [], tab


def test_every_control_has_a_name_and_can_be_reached_by_keyboard(visit):
    page = visit()
    page.get_by_role("button", name="Settings").click()
    assert page.evaluate(NAMELESS) == []
    for tab in ("Compare", "Predict"):
        page.get_by_role("tab", name=tab, exact=True).click()
        assert page.evaluate(NAMELESS) == [], tab
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
  for (const e of document.querySelectorAll('#heading *, #desk *')) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.offsetParent || e.closest('[disabled]')) continue;
    const [a, b] = [light(parse(getComputedStyle(e).color)), light(behind(e))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) bad.push(`${e.innerText.slice(0, 40)}: ${ratio.toFixed(1)}`);
  }
  return bad;
}"""

NAMELESS = """() => [...document.querySelectorAll('button, input, textarea, [role=tab]')]
  .filter(one =>
    one.offsetParent && one.type !== 'file' && !one.innerText.trim() &&
    !one.getAttribute('aria-label') && !one.getAttribute('aria-labelledby') &&
    !(one.labels && one.labels.length) && !one.title && !one.querySelector('img[alt]'))
  .map(one => one.outerHTML.slice(0, 200))"""
