"""A headless Firefox for tests, driven over its Marionette protocol.

::

    async with Firefox() as browser:
        await browser.open("http://127.0.0.1:8080/")
        await browser.wait_for("document.querySelector('video').videoWidth > 0", timeout=10)
        print(await browser.evaluate("playcast.stats"))

Marionette is WebDriver's commands in JSON over TCP: each message is its length in bytes, a colon,
and [0, number, command, parameters] or, as the answer, [1, number, error, result]. One command is
under way at a time.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import shutil
import signal
import tempfile
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Any, Self

EXECUTABLES = ("firefox-esr", "firefox")  # Debian's, and other distributions'

PREFERENCES: dict[str, bool | int | str] = {
    "marionette.port": 0,
    # Plain candidates on loopback.
    "media.peerconnection.ice.loopback": True,
    "media.peerconnection.ice.obfuscate_host_addresses": False,
    # Autoplay, with sound or without.
    "media.autoplay.default": 0,
    "media.autoplay.blocking_policy": 0,
    # No word to anybody but the page's server.
    "app.normandy.enabled": False,
    "app.update.disabledForTesting": True,
    "browser.newtabpage.enabled": False,
    "browser.region.network.url": "",
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.update.enabled": False,
    "media.gmp-manager.updateEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.dns.disabled": True,
    "services.settings.server": "data:,",
    "toolkit.telemetry.server": "",
}

START_TIMEOUT = 60.0
CLOSE_TIMEOUT = 5.0
COMMAND_TIMEOUT = 60.0

_ANNOUNCEMENT = re.compile(rb"Marionette\s+INFO\s+Listening on port (\d+)")

_EVALUATE = """
const [expression, done] = arguments;
(async () => (0, eval)(expression))().then(
  (value) => done({ value }),
  (error) => done({ error: `${error}\\n${error?.stack ?? ""}` }),
);
"""

_WAIT = """
new Promise((resolve, reject) => {
  const deadline = performance.now() + %(ms)d;
  const check = async () => {
    try {
      const value = await (%(expression)s);
      if (value) resolve({ value });
      else if (performance.now() >= deadline) resolve(null);
      else setTimeout(check, 20);
    } catch (error) {
      reject(error);
    }
  };
  void check();
})
"""


class FirefoxError(Exception):
    """The browser could not be started, died, or refused a command."""


class PageError(Exception):
    """JavaScript in the page threw. The text is what the page says, with its stack."""


class Firefox:
    """One browser process with a fresh profile and one tab. An asynchronous context manager.

    ``preferences`` are added to :data:`PREFERENCES`. Leaving the context ends the browser (by its
    own process group) and removes the profile, whatever happened inside.
    """

    def __init__(
        self,
        preferences: dict[str, bool | int | str] | None = None,
        *,
        executable: str | None = None,
    ) -> None:
        self._preferences = PREFERENCES | (preferences or {})
        self._executable = executable or next(filter(None, map(shutil.which, EXECUTABLES)), None)
        self._profile: Path | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._drain: asyncio.Task[None] | None = None
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._number = 0
        self._one_at_a_time = asyncio.Lock()
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

    async def open(self, url: str) -> None:
        """Open ``url`` in the tab; returns once the page has loaded."""
        await self.command("WebDriver:Navigate", url=url)

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited, as JSON carries it."""
        reply = await self.command(
            "WebDriver:ExecuteAsyncScript",
            script=_EVALUATE,
            args=[expression],
            sandbox=None,  # the page's own globals, not a sandbox around them
        )
        outcome = reply["value"]
        if "error" in outcome:
            raise PageError(outcome["error"])
        return outcome.get("value")

    async def wait_for(self, expression: str, timeout: float = 10.0) -> Any:
        """Wait until ``expression`` (or the promise it gives) is truthy, and return its value.

        Raises :class:`TimeoutError`, and :class:`PageError` if it throws.
        """
        found = await self.evaluate(_WAIT % {"ms": round(timeout * 1000), "expression": expression})
        if found is None:
            raise TimeoutError(f"not true in {timeout:g} s: {expression}")
        return found["value"]

    async def screenshot(self, path: str | Path) -> None:
        """Write what the tab shows as a PNG."""
        reply = await self.command("WebDriver:TakeScreenshot", full=False)
        await asyncio.to_thread(Path(path).write_bytes, base64.b64decode(reply["value"]))

    async def command(self, name: str, **parameters: Any) -> Any:
        """Send one Marionette command and return its result. Raises :class:`FirefoxError`."""
        if self._streams is None:
            raise FirefoxError(f"{name}: the browser is not running")
        _, writer = self._streams
        async with self._one_at_a_time:
            self._number += 1
            body = json.dumps([0, self._number, name, parameters]).encode()
            writer.write(b"%d:%b" % (len(body), body))
            try:
                async with asyncio.timeout(COMMAND_TIMEOUT):
                    _, number, error, result = await self._read()
            except TimeoutError as error:
                raise FirefoxError(f"{name}: no answer in {COMMAND_TIMEOUT:.0f} s") from error
            except (asyncio.IncompleteReadError, ConnectionError) as error:
                raise FirefoxError(f"{name}: the browser is gone{self._tail()}") from error
        assert number == self._number, f"an answer to command {number}, not {self._number}"
        if error is not None:
            raise FirefoxError(f"{name}: {error['error']}: {error['message']}")
        return result

    async def close(self) -> None:
        """End the browser and remove its profile. Safe to call twice."""
        if self._streams is not None:
            with contextlib.suppress(FirefoxError, TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await self.command("Marionette:Quit", flags=["eForceQuit"])
            self._streams[1].close()
            self._streams = None
        if self._process is not None:
            await self._end(self._process)
            self._process = None
        if self._drain is not None:
            await self._drain
            self._drain = None
        if self._profile is not None:
            shutil.rmtree(self._profile, ignore_errors=True)
            self._profile = None

    async def _start(self) -> None:
        if self._executable is None:
            raise FirefoxError("there is no Firefox on PATH: install Debian's firefox-esr")
        self._profile = Path(tempfile.mkdtemp(prefix="playcast-firefox-"))
        lines = [
            f"user_pref({json.dumps(k)}, {json.dumps(v)});" for k, v in self._preferences.items()
        ]
        (self._profile / "user.js").write_text("\n".join(lines) + "\n")
        self._process = await asyncio.create_subprocess_exec(
            self._executable,
            *("--headless", "--marionette", "--no-remote", "--profile", str(self._profile)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=os.environ | {"HOME": str(self._profile), "MOZ_CRASHREPORTER_DISABLE": "1"},
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(START_TIMEOUT):
                port = await self._announced(self._process)
                self._streams = await asyncio.open_connection("127.0.0.1", port, limit=1 << 26)
                await self._read()  # who it is, and the protocol's version
        except TimeoutError as error:
            raise FirefoxError(
                f"no Marionette after {START_TIMEOUT:.0f} s{self._tail()}"
            ) from error
        self._drain = asyncio.create_task(self._drain_output(self._process))
        await self.command("WebDriver:NewSession", capabilities={"alwaysMatch": {}})
        await self.command("WebDriver:SetTimeouts", script=int(COMMAND_TIMEOUT * 1000))

    async def _announced(self, process: asyncio.subprocess.Process) -> int:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            if found := _ANNOUNCEMENT.search(line):
                return int(found[1])
            self._log.append(line.decode(errors="replace").rstrip())
        raise FirefoxError(f"the browser ended while starting{self._tail()}")

    async def _drain_output(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while chunk := await process.stdout.read(4096):
            self._log.extend(chunk.decode(errors="replace").splitlines())

    async def _read(self) -> Any:
        assert self._streams is not None
        reader, _ = self._streams
        length = int((await reader.readuntil(b":"))[:-1])
        return json.loads(await reader.readexactly(length))

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
