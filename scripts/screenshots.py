"""Takes the pictures of the dashboard in docs/images, of a demo that it starts for them: `scripts/screenshots.py`.

It trains two versions on iris, starts the API, the monitor and the dashboard on free ports in a temporary folder, sends
traffic whose last part is shifted, and photographs each page in the light and the dark theme with Chromium.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import requests
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
PAGES = ("Experiment", "Playground", "Batch", "Drift", "Health")
WIDTH, HEIGHT, SCALE = 1280, 1400, 0.8
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
# The experiment's picture shows the interval too.
TALLER = {"Experiment": 2150}
# The pages refresh one resource every 5 s: after this time each has been shown with current figures.
SETTLED_MS = 12_000
# How long a busy machine may take to draw a page.
PATIENCE_MS = 120_000
# So many readings of the metrics that the chart of rates shows a line.
RATES_MS = 45_000


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def bakeoff(env: dict[str, str], *arguments: str) -> None:
    """Run a command to its end."""
    subprocess.run([sys.executable, "-m", "app", *arguments], cwd=ROOT, env=env, check=True)


@contextlib.contextmanager
def running(env: dict[str, str], command: str, url: str) -> Iterator[None]:
    """A command in the background, from when `url` answers to the end of the block."""
    with subprocess.Popen([sys.executable, "-m", "app", command], cwd=ROOT, env=env) as process:
        try:
            deadline = time.monotonic() + 60
            while not answers(url):
                if time.monotonic() > deadline or process.poll() is not None:
                    raise SystemExit(f"bakeoff {command} did not start; its messages are above")
                time.sleep(0.2)
            yield
        finally:
            process.terminate()


@contextlib.contextmanager
def steady_traffic(env: dict[str, str]) -> Iterator[None]:
    """A few requests a second to the end of the block, which Health shows, and neither experiment nor drift counts."""
    options = ("--synthetic", "--rate", "3", "--requests", "10000", "--label-rate", "0")
    with subprocess.Popen([sys.executable, "-m", "app", "simulate", *options], cwd=ROOT, env=env) as process:
        try:
            yield
        finally:
            process.terminate()


def answers(url: str) -> bool:
    """Whether something answers at `url` with success."""
    with contextlib.suppress(requests.RequestException):
        return requests.get(url, timeout=2).ok
    return False


def make_csv(path: Path, api_url: str) -> None:
    """A file of 60 rows for the batch page, from the examples in the manifest."""
    model = requests.get(f"{api_url}/models", timeout=10).json()["models"][0]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([feature["name"] for feature in model["contract"]["features"]])
        examples = model["examples"]
        writer.writerows(examples[index % len(examples)] for index in range(60))


def open_page(tab: Page, url: str, name: str, table: Path) -> None:
    """Open a page and bring it to the state that the picture shows."""
    tab.goto(f"{url}/{name.lower()}" if name != PAGES[0] else url)
    tab.get_by_role("heading", name=name, exact=True, level=1).wait_for()
    if name == "Playground":
        tab.get_by_role("button", name="Predict", exact=True).click()
        tab.get_by_text("Was it right?").wait_for()
    if name == "Batch":
        tab.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(table)
        tab.get_by_role("button", name="Predict 60 rows").click()
        tab.get_by_role("button", name="Download the result").wait_for()


def save(picture: bytes, path: Path) -> None:
    """Save a screenshot with 128 colours: a third of the size, and no difference that one sees."""
    colours = Image.open(io.BytesIO(picture)).convert("RGB").quantize(128, dither=Image.Dither.NONE)
    colours.save(path, optimize=True)


def photograph(browser: Browser, url: str, table: Path) -> None:
    """All pages in both themes, each page in both at the same time."""
    tabs = {theme: new_tab(browser, theme) for theme in THEMES}
    for name in PAGES:
        for tab in tabs.values():
            tab.set_viewport_size({"width": WIDTH, "height": TALLER.get(name, HEIGHT)})
            open_page(tab, url, name, table)
        tab.wait_for_timeout(SETTLED_MS)
        if name == "Health":
            for each in tabs.values():
                each.get_by_text("rate unknown yet").first.wait_for(state="hidden")
            tab.wait_for_timeout(RATES_MS)
        for theme, each in tabs.items():
            # Chromium drops its requests when the host gets or loses a network, such as one of Docker.
            if each.get_by_text("Failed to fetch dynamically imported module").count():
                sys.exit(f"{name} ({theme}) was not loaded whole: a network of this host changed. Run this again.")
            save(each.screenshot(), IMAGES / f"{name.lower()}-{theme}.png")
            print(f"{name.lower()}-{theme}.png", flush=True)


def new_tab(browser: Browser, theme: Literal["light", "dark"]) -> Page:
    """A tab whose page is drawn in the theme."""
    context = browser.new_context(color_scheme=theme, device_scale_factor=SCALE)
    context.set_default_timeout(PATIENCE_MS)
    return context.new_page()


def main() -> None:
    """Start everything, send traffic, take the pictures."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("Chromium was not found; on Debian: apt-get install chromium")
    with tempfile.TemporaryDirectory() as name:
        folder, port, ui_port = Path(name), free_port(), free_port()
        api_url, url = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{ui_port}"
        env = {
            **os.environ,
            "MODEL_DIR": str(folder / "models"),
            "DATA_DIR": str(folder / "data"),
            "API_PORT": str(port),
            "API_URL": api_url,
            "UI_PORT": str(ui_port),
            # As in the demo: the simulator makes the labels, whatever was answered.
            "LABELS_EXOGENOUS": "true",
            "EXPERIMENT_METRICS": "balanced_accuracy,brier",
        }
        bakeoff(env, "train")
        with running(env, "serve", f"{api_url}/health/ready"), running(env, "monitor", f"{api_url}/health"):
            bakeoff(env, "simulate", "--requests", "1500", "--seed", "2")
            bakeoff(env, "simulate", "--requests", "400", "--seed", "1", "--drift", "petal_width:+1sd")
            make_csv(folder / "rows.csv", api_url)
            dashboard = running(env, "ui", f"{url}/_stcore/health")
            with dashboard, steady_traffic(env), sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"]
                )
                photograph(browser, url, folder / "rows.csv")
                browser.close()


if __name__ == "__main__":
    main()
