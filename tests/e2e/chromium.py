"""A headless Chromium for tests, driven over the Chrome DevTools Protocol (CDP).

::

    async with Chromium() as browser:
        page = await browser.open("http://127.0.0.1:8080/")
        await page.wait_for("document.querySelector('video').videoWidth > 0", timeout=10)
        print(await page.evaluate("playcast.stats"))
        await page.screenshot("page.png", 1280, 720)

One WebSocket carries everything: the browser and, as "flat" sessions, each page. A task reads it
and hands answers to whoever asked and events to the page they belong to. Nothing waits by
sleeping: conditions are watched inside the page (:meth:`Page.wait_for`), and start and load by
what the browser announces.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import shutil
import signal
import tempfile
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from .namespaces import connected_in

EXECUTABLE = "/usr/bin/chromium"

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--allow-loopback-in-peer-connection",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
    "--remote-debugging-port=0",
)

START_TIMEOUT = 30.0
CLOSE_TIMEOUT = 5.0
COMMAND_TIMEOUT = 60.0

_ANNOUNCEMENT = b"DevTools listening on "

_WAIT = """
new Promise((resolve, reject) => {
  const deadline = performance.now() + %(ms)d;
  const next = (check) => {
    let done = false;
    const once = () => { if (!done) { done = true; check(); } };
    requestAnimationFrame(once);
    setTimeout(once, 50);
  };
  const check = async () => {
    try {
      const value = await (%(expression)s);
      if (value) resolve(value);
      else if (performance.now() >= deadline) reject(new Error("playcast-test-timeout"));
      else next(check);
    } catch (error) {
      reject(error);
    }
  };
  void check();
})
"""

_KEYS = {"Escape": ("Escape", 27), "Enter": ("Enter", 13), "Tab": ("Tab", 9), " ": ("Space", 32)}


class ChromiumError(Exception):
    """The browser could not be started, died, or refused a command."""


class PageError(Exception):
    """JavaScript in the page threw. The text is what the page says, with its stack."""


class Chromium:
    """One browser process with a fresh profile. Use as an asynchronous context manager.

    ``flags`` are added to :data:`FLAGS`; ``space`` names a network namespace to run it in. Leaving
    the context ends the browser (by its own process group) and removes the profile, whatever
    happened inside.
    """

    def __init__(self, *flags: str, executable: str = EXECUTABLE, space: str | None = None) -> None:
        self._flags = flags
        self._space = space
        self._executable = executable
        self._profile: Path | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._socket: ClientConnection | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._pages: dict[str, Page] = {}
        self._log: deque[str] = deque(maxlen=50)

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def pid(self) -> int:
        """The process id of the browser."""
        if self._process is None:
            raise ChromiumError("the browser is not running")
        return self._process.pid

    async def open(self, url: str = "about:blank", *, init: Sequence[str] = ()) -> Page:
        """Open a tab on ``url`` and return it once the page has loaded.

        ``init`` are scripts that run in every document of the tab before the document's own.
        """
        target = await self.command("Target.createTarget", url="about:blank")
        attached = await self.command(
            "Target.attachToTarget", targetId=target["targetId"], flatten=True
        )
        page = Page(self, attached["sessionId"], target["targetId"])
        self._pages[page.session] = page
        for domain in ("Page", "Runtime", "Log", "Network"):
            await page.command(f"{domain}.enable")
        for source in init:
            await page.command("Page.addScriptToEvaluateOnNewDocument", source=source)
        if url != "about:blank":
            await page.goto(url)
        return page

    async def command(
        self, method: str, *, session: str | None = None, **params: Any
    ) -> dict[str, Any]:
        """Send one CDP command and return its result. Raises :class:`ChromiumError`."""
        if self._socket is None:
            raise ChromiumError(f"{method}: the browser is not running")
        number = next(self._ids)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        try:
            await self._socket.send(json.dumps(message))
            async with asyncio.timeout(COMMAND_TIMEOUT):
                reply = await answer
        except ConnectionClosed as error:
            raise ChromiumError(f"{method}: the browser is gone{self._tail()}") from error
        except TimeoutError as error:
            raise ChromiumError(f"{method}: no answer in {COMMAND_TIMEOUT:.0f} s") from error
        finally:
            self._answers.pop(number, None)
        if "error" in reply:
            raise ChromiumError(f"{method}: {reply['error'].get('message', reply['error'])}")
        result: dict[str, Any] = reply["result"]
        return result

    async def close(self) -> None:
        """End the browser and remove its profile. Safe to call twice."""
        if self._socket is not None and self._process is not None:
            if self._process.returncode is None:
                with contextlib.suppress(ChromiumError, TimeoutError):
                    async with asyncio.timeout(CLOSE_TIMEOUT):
                        await self.command("Browser.close")
            await self._socket.close()
            self._socket = None
        if self._process is not None:
            await self._end(self._process)
            self._process = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        if self._profile is not None:
            shutil.rmtree(self._profile, ignore_errors=True)
            self._profile = None

    async def _start(self) -> None:
        self._profile = Path(tempfile.mkdtemp(prefix="playcast-chromium-"))
        self._process = await asyncio.create_subprocess_exec(
            *(("ip", "netns", "exec", self._space) if self._space else ()),
            self._executable,
            *FLAGS,
            *self._flags,
            f"--user-data-dir={self._profile}",
            "about:blank",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=os.environ | {"HOME": str(self._profile)},
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(START_TIMEOUT):
                url = await self._announced(self._process)
        except TimeoutError as error:
            raise ChromiumError(
                f"no DevTools port after {START_TIMEOUT:.0f} s{self._tail()}"
            ) from error
        inside = None
        if self._space:
            parts = urlsplit(url)
            inside = connected_in(self._space, (str(parts.hostname), int(parts.port or 0)))
        self._socket = await connect(
            url, sock=inside, max_size=None, ping_interval=None, compression=None
        )
        self._tasks.append(asyncio.create_task(self._drain(self._process)))
        self._tasks.append(asyncio.create_task(self._read(self._socket)))

    async def _announced(self, process: asyncio.subprocess.Process) -> str:
        """The DevTools address, from the line that tells it once the browser listens.

        The file DevToolsActivePort says the same, but is written after that line.
        """
        assert process.stderr is not None
        while line := await process.stderr.readline():
            if line.startswith(_ANNOUNCEMENT):
                return line.removeprefix(_ANNOUNCEMENT).decode().strip()
            self._log.append(line.decode(errors="replace").rstrip())
        raise ChromiumError(f"the browser ended while starting{self._tail()}")

    async def _drain(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        while chunk := await process.stderr.read(4096):
            self._log.extend(chunk.decode(errors="replace").splitlines())

    async def _read(self, socket: ClientConnection) -> None:
        async for frame in socket:
            message = json.loads(frame)
            if "id" in message:
                answer = self._answers.get(message["id"])
                if answer is not None and not answer.done():
                    answer.set_result(message)
            elif page := self._pages.get(message.get("sessionId", "")):
                page._event(message["method"], message["params"])
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(ChromiumError(f"the browser is gone{self._tail()}"))

    @staticmethod
    async def _end(process: asyncio.subprocess.Process) -> None:
        for number in (None, signal.SIGTERM, signal.SIGKILL):
            if number is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await process.wait()
            except TimeoutError:
                continue
            break
        # Helpers of the browser share its process group and may outlive it for a moment.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    def _tail(self) -> str:
        return "".join(f"\n  {line}" for line in list(self._log)[-10:])


class Page:
    """One tab. ``console`` and ``exceptions`` hold what its documents said, oldest first."""

    def __init__(self, browser: Chromium, session: str, target: str) -> None:
        self.browser = browser
        self.session = session
        self.target = target
        self.console: list[str] = []
        """"level: text" of console calls and of the browser's own log (network, CSP)."""
        self.exceptions: list[str] = []
        """Uncaught exceptions and unhandled rejections, with their stack."""
        self._loaded = asyncio.Event()

    async def command(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one CDP command to this tab and return its result."""
        return await self.browser.command(method, session=self.session, **params)

    async def goto(self, url: str, *, timeout: float = 30.0) -> None:
        """Load ``url`` and wait until it has loaded. A new fragment alone loads nothing."""
        self._loaded.clear()
        result = await self.command("Page.navigate", url=url)
        if "errorText" in result:
            raise ChromiumError(f"{url}: {result['errorText']}")
        if "loaderId" in result:
            async with asyncio.timeout(timeout):
                await self._loaded.wait()

    async def reload(self, *, timeout: float = 30.0) -> None:
        """Load the page again and wait until it has loaded."""
        self._loaded.clear()
        await self.command("Page.reload")
        async with asyncio.timeout(timeout):
            await self._loaded.wait()

    async def evaluate(
        self, expression: str, *, await_promise: bool = True, gesture: bool = False
    ) -> Any:
        """The value of a JavaScript expression, as JSON carries it. Raises :class:`PageError`.

        ``gesture`` makes it count as done by a person (full screen, playback with sound).
        """
        reply = await self.command(
            "Runtime.evaluate",
            expression=expression,
            awaitPromise=await_promise,
            returnByValue=True,
            userGesture=gesture,
        )
        if details := reply.get("exceptionDetails"):
            raise PageError(_thrown(details))
        return reply["result"].get("value")

    async def wait_for(self, expression: str, timeout: float = 10.0) -> Any:
        """Wait until ``expression`` (or the promise it gives) is truthy, and return its value.

        Watched in the page, at every animation frame; survives a navigation in between. Raises
        :class:`TimeoutError`, with the page's console, and :class:`PageError` if it throws.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while True:
            left = max(0.0, deadline - loop.time())
            try:
                return await self.evaluate(
                    _WAIT % {"ms": round(left * 1000), "expression": expression}
                )
            except PageError as error:
                if "playcast-test-timeout" not in str(error):
                    raise
            except ChromiumError as error:
                if not _navigated(error) or left == 0.0:
                    raise
                continue
            said = "\n".join(self.exceptions + self.console[-20:]) or "(nothing)"
            raise TimeoutError(f"not true in {timeout:g} s: {expression}\nthe page said:\n{said}")

    async def press(self, key: str) -> None:
        """Press and release a key: a character, or Escape, Enter, Tab."""
        code, number = _KEYS.get(key, ("", ord(key.upper()) if len(key) == 1 else 0))
        common: dict[str, Any] = {"key": key, "code": code, "windowsVirtualKeyCode": number}
        text = {"text": key} if len(key) == 1 else {}
        await self.command("Input.dispatchKeyEvent", type="keyDown", **common, **text)
        await self.command("Input.dispatchKeyEvent", type="keyUp", **common)

    async def click(self, selector: str, *, count: int = 1) -> None:
        """Click the middle of the first element that matches ``selector``; ``count=2``: double."""
        x, y = await self.evaluate(
            f"(r => [r.x + r.width / 2, r.y + r.height / 2])"
            f"(document.querySelector({json.dumps(selector)}).getBoundingClientRect())"
        )
        for number in range(1, count + 1):
            for kind in ("mousePressed", "mouseReleased"):
                await self.command(
                    "Input.dispatchMouseEvent",
                    type=kind,
                    x=x,
                    y=y,
                    button="left",
                    clickCount=number,
                )

    async def resize(self, width: int, height: int, *, mobile: bool = False) -> None:
        """Set the size of the viewport in CSS pixels; ``mobile`` also emulates touch."""
        await self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=mobile,
        )
        await self.command("Emulation.setTouchEmulationEnabled", enabled=mobile)

    async def reduce_motion(self, on: bool = True) -> None:
        """Make the media query prefers-reduced-motion match."""
        value = "reduce" if on else ""
        await self.command(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-reduced-motion", "value": value}],
        )

    async def screenshot(
        self, path: str | Path | None = None, width: int | None = None, height: int | None = None
    ) -> bytes:
        """The page as a PNG, written to ``path`` if given, after a resize if a size is given."""
        if width is not None and height is not None:
            await self.resize(width, height)
        reply = await self.command("Page.captureScreenshot", format="png")
        png = base64.b64decode(reply["data"])
        if path is not None:
            await asyncio.to_thread(Path(path).write_bytes, png)
        return png

    async def close(self) -> None:
        """Close the tab, as a person would: the page's pagehide handlers run. Twice is fine."""
        if self.session not in self.browser._pages:
            return
        await self.browser.command("Target.closeTarget", targetId=self.target)
        self.browser._pages.pop(self.session, None)

    def _event(self, method: str, params: dict[str, Any]) -> None:
        match method:
            case "Page.loadEventFired":
                self._loaded.set()
            case "Runtime.consoleAPICalled":
                words = (_shown(argument) for argument in params["args"])
                self.console.append(f"{params['type']}: {' '.join(words)}")
            case "Log.entryAdded":
                entry = params["entry"]
                self.console.append(f"{entry['level']}: {entry['text']} {entry.get('url', '')}")
            case "Runtime.exceptionThrown":
                self.exceptions.append(_thrown(params["exceptionDetails"]))


def _thrown(details: dict[str, Any]) -> str:
    exception = details.get("exception", {})
    return str(exception.get("description") or exception.get("value") or details.get("text"))


def _shown(argument: dict[str, Any]) -> str:
    return str(argument.get("value", argument.get("description", argument["type"])))


def _navigated(error: ChromiumError) -> bool:
    text = str(error)
    return "context was destroyed" in text or "navigated or closed" in text or "Promise was" in text
