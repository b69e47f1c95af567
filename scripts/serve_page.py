"""Tests the page of `miyasawa serve` in headless Chromium and keeps screenshots.

Usage: serve_page.py MIYASAWA FOLDER [CHROMIUM]

Needs playwright from PyPI. With MIYASAWA_DATA, a photograph of it is shown too.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tarfile

from playwright.sync_api import expect, sync_playwright

PROGRAM, OUT = sys.argv[1], pathlib.Path(sys.argv[2])
CHROMIUM = sys.argv[3] if len(sys.argv) > 3 else shutil.which("chromium")
ROOT = pathlib.Path(__file__).resolve().parent.parent
FROG = ROOT / "docs/book/src/figures/frog.jpg"
LARGE = ROOT / "docs/samples.png"
# Milliseconds: the machine may be busy.
PATIENCE = 60_000


class Server:
    """A server in a process of its own."""

    def __init__(self, token=None):
        environment = {k: v for k, v in os.environ.items() if k != "MIYASAWA_TOKEN"}
        if token:
            environment["MIYASAWA_TOKEN"] = token
        command = [PROGRAM, "serve", "--bind", "127.0.0.1:0", "--json"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
        self.url = json.loads(self.process.stdout.readline())["url"]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=60) == 0


def watched(context, url):
    """A page that may talk to the server alone and must not complain."""
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    faults = []
    page.on("pageerror", lambda error: faults.append(f"error: {error}"))
    page.on("request", lambda request: faults.append(request.url) if not request.url.startswith(
        (url, "blob:", "data:")) else None)
    # Chromium reports answers like 422, which the tests provoke.
    page.on("console", lambda line: faults.append(line.text) if line.type == "error"
            and "the server responded with a status" not in line.text else None)
    return page, faults


def shot(page, name):
    page.screenshot(path=OUT / f"{name}.png", full_page=True)


def wait_for_all(page, label):
    """Waits until an image was denoised, classified and explained."""
    expect(page.locator("#classes li").first).to_contain_text(label, timeout=PATIENCE)
    expect(page.locator("#maps img")).to_have_count(5, timeout=PATIENCE)
    page.wait_for_function("document.getElementById('after').naturalWidth > 0")
    expect(page.locator("#status")).to_have_text("Done.", timeout=PATIENCE)
    expect(page.locator("#error")).to_be_hidden()


def names_are_complete(page):
    """Every control has a name that is read aloud."""
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    controls = {"slider", "button", "combobox", "checkbox", "textbox", "image", "link", "table"}
    seen = set()
    for node in nodes:
        role = node.get("role", {}).get("value")
        if node.get("ignored") or role not in controls:
            continue
        seen.add(role)
        name = node.get("name", {}).get("value", "")
        # The table is named by the group around it.
        assert name or role == "table", f"a {role} without a name"
    assert {"slider", "button", "combobox", "checkbox", "image"} <= seen, seen


def the_page_works(browser, server):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page, faults = watched(context, server.url)
    page.goto(server.url)
    expect(page.locator("#work")).to_be_hidden()
    shot(page, "start")
    # By keyboard alone: the first stop is the choice of a file.
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"
    page.set_input_files("#file", FROG)
    wait_for_all(page, "frog")
    names_are_complete(page)
    assert "estimated" in page.locator("#denoised-text").inner_text()
    columns = page.locator("#posterior thead th").count()
    assert columns == 7 and page.locator("#posterior thead .near").count() == 1
    shot(page, "frog")

    # The slider between before and after.
    edge = "getComputedStyle(document.getElementById('after')).clipPath"
    before = page.evaluate(edge)
    page.locator("#split").focus()
    for _ in range(20):
        page.keyboard.press("ArrowLeft")
    assert page.evaluate(edge) != before and page.locator("#split").input_value() == "30"
    box = page.locator("#compare").bounding_box()
    page.mouse.click(box["x"] + 0.8 * box["width"], box["y"] + box["height"] / 2)
    assert 75 <= int(page.locator("#split").input_value()) <= 85

    # Noise to try: PSNR is said, the level is estimated anew.
    page.locator("#add").focus()
    for _ in range(45):
        page.keyboard.press("ArrowRight")
    expect(page.locator("#denoised-text")).to_contain_text("PSNR", timeout=PATIENCE)
    expect(page.locator("#status")).to_have_text("Done.", timeout=PATIENCE)
    words = page.locator("#denoised-text").inner_text().replace(",", "").split()
    numbers = [float(word) for word in words if word[0].isdigit() and "." in word]
    assert numbers[-1] > numbers[-2] + 1, words
    # A level of one's own.
    page.locator("#sigma").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#denoised-text")).not_to_contain_text("estimated", timeout=PATIENCE)
    assert not page.locator("#estimate").is_checked()
    # Another class.
    page.locator("#class").select_option("ship")
    expect(page.locator("#explained-text")).to_contain_text("p(ship)", timeout=PATIENCE)
    shot(page, "noise")
    with page.expect_download() as download:
        page.locator("#download").click()
    assert download.value.suggested_filename == "frog-denoised.jpg"
    assert pathlib.Path(download.value.path()).read_bytes()[:2] == b"\xff\xd8"

    # Files that are none, in words.
    for name, content, words in [
        ("half.jpg", FROG.read_bytes()[:700], "damaged or incomplete"),
        ("text.png", b"not an image", "not an image that can be read"),
        ("empty.png", b"", "empty"),
    ]:
        broken = OUT / name
        broken.write_bytes(content)
        page.set_input_files("#file", broken)
        expect(page.locator("#error")).to_contain_text(words, timeout=PATIENCE)
        expect(page.locator("#work")).to_be_hidden()
        broken.unlink()
        shot(page, "error")
    page.set_input_files("#file", FROG)
    wait_for_all(page, "frog")
    # Another image begins without the noise that was added to the one before.
    expect(page.locator("#add-text")).to_have_text("none")
    assert not faults, faults
    context.close()


def a_phone_shows_it(browser, server, image, dark):
    context = browser.new_context(
        viewport={"width": 360, "height": 740}, device_scale_factor=2, has_touch=True,
        color_scheme="dark" if dark else "light")
    page, faults = watched(context, server.url)
    page.goto(server.url)
    page.set_input_files("#file", image)
    wait_for_all(page, "")
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 360, f"{width} pixels wide"
    small = page.evaluate("""[...document.querySelectorAll("button, select, .button")]
        .filter(one => one.offsetParent && one.offsetHeight < 40).map(one => one.id)""")
    assert not small, small
    shot(page, f"phone-{'dark' if dark else 'light'}")
    assert not faults, faults
    context.close()


def a_desktop_shows_it(browser, server, image, dark):
    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, color_scheme="dark" if dark else "light")
    page, faults = watched(context, server.url)
    page.goto(server.url)
    page.set_input_files("#file", image)
    wait_for_all(page, "")
    shot(page, f"desktop-{'dark' if dark else 'light'}")
    assert not faults, faults
    context.close()


def a_token_is_asked_for(browser):
    server = Server("correct horse")
    context = browser.new_context(viewport={"width": 800, "height": 600})
    page, faults = watched(context, server.url)
    page.goto(server.url)
    expect(page.locator("#login")).to_be_visible()
    page.locator("#token").fill("wrong horse")
    page.keyboard.press("Enter")
    expect(page.locator("#error")).to_contain_text("not the right one")
    shot(page, "token")
    page.locator("#token").fill("correct horse")
    page.keyboard.press("Enter")
    expect(page.locator("#login")).to_be_hidden()
    page.set_input_files("#file", FROG)
    wait_for_all(page, "frog")
    # A server that went away is an error in words.
    server.stop()
    page.locator("#class").select_option("cat")
    expect(page.locator("#error")).to_contain_text("cannot be reached")
    assert all("ERR_CONNECTION_REFUSED" in fault for fault in faults), faults
    context.close()


def photograph():
    """An image of some size: a photograph where there is one."""
    tar = pathlib.Path(os.environ.get("MIYASAWA_DATA", "")) / "natural-colour/cbsd432-train.tar"
    if not tar.is_file():
        return LARGE
    with tarfile.open(tar) as files:
        path = OUT / "photograph.jpg"
        path.write_bytes(files.extractfile(files.getnames()[0]).read())
    return path


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    server = Server()
    image = photograph()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        the_page_works(browser, server)
        for dark in (False, True):
            a_desktop_shows_it(browser, server, image, dark)
            a_phone_shows_it(browser, server, image, dark)
        a_token_is_asked_for(browser)
        browser.close()
    server.stop()
    names = ", ".join(sorted(path.name for path in OUT.glob("*.png")))
    print(f"the page works; screenshots in {OUT}: {names}")


main()
