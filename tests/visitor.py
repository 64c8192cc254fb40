"""What a visitor of the studio does with the page, for the tests in a browser."""

WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


def pick(page, number=0):
    """Chooses another example than the one that is chosen when the page opens, unless 0."""
    page.wait_for_selector("#seen img")
    if number:
        before = page.locator("#states textarea").input_value()
        page.locator("#examples button").nth(number).click()
        page.wait_for_function(
            "b => !['', b].includes(document.querySelector('#states textarea').value)", arg=before
        )


def predict(page):
    before = page.locator("#strip").inner_html()
    page.click("#predict")
    page.wait_for_function("b => document.querySelector('#strip').innerHTML !== b", arg=before)
    page.wait_for_function("document.querySelector('#status').innerText.includes('seed')")


def say(page, words):
    page.locator("#instruction textarea, #instruction input").fill(words)


def wait_for(page, place, words):
    page.wait_for_function(
        "([place, words]) => document.querySelector(place).innerText.includes(words)",
        arg=[place, words],
    )


def frames_shown(page):
    return page.locator("#strip img").evaluate_all("all => all.map(one => one.src)")
