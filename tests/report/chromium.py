"""A headless Chromium, spoken to over a pipe in its DevTools protocol.

https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
LIMIT_S = 60


def program() -> str:
    """Where Chromium is; these tests are asked for by name, so it must be there."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    assert found is not None, "install Chromium: apt-get install chromium"
    return found


class Page:
    """A page that was loaded, and what it said while it was.

    Attributes:
        said: Errors and warnings of its console and exceptions that nobody caught.
        asked: Addresses that it requested, its own too.
    """

    def __init__(self, to: int, back: int) -> None:
        self._to = to
        self._back = os.fdopen(back, "rb")
        self._number = 0
        self._rest = b""
        self._session = ""
        self.said: list[str] = []
        self.asked: list[str] = []

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                found: dict[str, Any] = answer["result"]
                return found
            self._note(answer)
        raise AssertionError(f"Chromium did not answer {method}")

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            chunk = os.read(self._back.fileno(), 1 << 20)
            assert chunk, "Chromium ended"
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(line)
        return found

    def _note(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        match event.get("method"):
            case "Runtime.exceptionThrown":
                self.said.append(json.dumps(params["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning", "assert"):
                self.said.append(json.dumps(params["args"]))
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                self.said.append(params["entry"]["text"])
            case "Network.requestWillBeSent":
                self.asked.append(params["request"]["url"])

    def open(self, file: Path, width: int, height: int, *, mobile: bool) -> None:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = session["sessionId"]
        for domain in ("Runtime", "Log", "Network", "Page"):
            self.call(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Page.navigate", url=file.resolve().as_uri())
        deadline = time.monotonic() + LIMIT_S
        while self.value("document.body && document.body.dataset.drawn") != "yes":
            assert time.monotonic() < deadline, f"never drawn: {self.said}"
            time.sleep(0.05)

    def value(self, expression: str) -> Any:
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"].get("value")

    def theme(self, name: str) -> None:
        """Ask for a ``light`` or ``dark`` page, and wait until it is drawn again."""
        self.value("document.body.dataset.drawn = 'no'; 0")
        wanted = [{"name": "prefers-color-scheme", "value": name}]
        dark = self.value("matchMedia('(prefers-color-scheme: dark)').matches")
        changed = dark != (name == "dark")
        self.call("Emulation.setEmulatedMedia", features=wanted)
        deadline = time.monotonic() + LIMIT_S
        while changed and self.value("document.body.dataset.drawn") != "yes":
            assert time.monotonic() < deadline, f"never drawn again: {self.said}"
            time.sleep(0.05)

    def move_to(self, x: float, y: float) -> None:
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def picture(self, file: Path) -> None:
        shot = self.call("Page.captureScreenshot", format="png")
        file.write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def opened(
    file: Path, home: Path, width: int = 1100, height: int = 1600, *, mobile: bool = False
) -> Iterator[Page]:
    """``file`` in a browser of its own."""
    ours_in, theirs_out = os.pipe()
    theirs_in, ours_out = os.pipe()

    def places() -> None:
        # The protocol is read from descriptor 3 and written to 4.
        first, second = os.dup(theirs_in), os.dup(theirs_out)
        os.dup2(first, 3)
        os.dup2(second, 4)

    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]
    process = subprocess.Popen(
        [program(), *flags, "--hide-scrollbars", f"--user-data-dir={home}"],
        preexec_fn=places,  # noqa: PLW1509 - these tests have no threads
        close_fds=False,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        page = Page(ours_out, ours_in)
        page.open(file, width, height, mobile=mobile)
        yield page
    finally:
        process.kill()
        process.wait()
        os.close(ours_out)
