"""Makes docs/studio_1280.png: the studio with the shipped model, after one prediction.

COMMAND  python benchmarks/screenshot.py [--model FOLDER] [--out docs/studio_1280.png]
HARDWARE one CPU; Chromium and the extras `web` and `dev`
TIME     about a minute on two idle cores
"""

import argparse
import shutil
import signal
import subprocess
import sys

from playwright.sync_api import sync_playwright

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PATIENCE = 600_000  # milliseconds


def main() -> None:
    """Starts the studio, predicts on the first example and takes the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tabletop")
    parser.add_argument("--out", default="docs/studio_1280.png")
    options = parser.parse_args()
    command = [sys.executable, "-m", "aid.cli", "web", "--model", options.model, "--port", "0"]
    studio = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        url = next(line.strip() for line in studio.stdout if line.startswith("http://"))
        take(url, options.out)
    finally:
        studio.send_signal(signal.SIGTERM)
        studio.wait(timeout=60)
    print(options.out)


def take(url: str, out: str) -> None:
    """The picture of a prediction on the first example."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=ARGUMENTS
        )
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(PATIENCE)
        page.goto(url)
        page.wait_for_selector("#examples button")
        page.wait_for_selector("#seen img")
        page.wait_for_function("document.querySelector('#states textarea').value !== ''")
        page.click("#predict")
        page.wait_for_selector("#strip img")
        page.wait_for_timeout(1500)  # the video's first frames
        page.mouse.move(640, 5)
        page.screenshot(path=out)
        browser.close()


if __name__ == "__main__":
    main()
