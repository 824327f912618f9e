"""What ``playcast view`` does: join, receive, show; brought up and down in order.

Up: the link is read and the files are made before anything heavy is imported, so that a mistake is
told at once. Down, after Ctrl-C or an end: the recording is finished, then the host and the server
are told, then the hub's threads are joined.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import os
import sys
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from peer.interrupt import until_interrupted
from peer.view_link import ViewLink, parse_link
from peer.view_words import advice_on, os_error_words, refusal_words

if TYPE_CHECKING:
    from native import Picture
    from peer.hub import MediaHub
    from peer.received_track import ReceivedTrack
    from peer.receiving import ReceivingConnection, ReceivingSettings
    from peer.recording import Recorder
    from peer.signalling_client import SignallingClient
    from peer.signalling_settings import TokenSource
    from peer.spans import Spans
    from peer.status_faces import Face
    from peer.view_report import ViewMeter
    from peer.view_status import Viewed
    from peer.viewing import Viewing
    from peer.window import PictureWindow

LOOPBACK = ("127.0.0.1",)
REPORT_S = 1.0
LAST_REPORT_NS = 200_000_000
"""The end has a report of its own unless the last one is younger."""
WINDOW_POLL_S = 0.02
"""How often a window without new pictures is asked what its user did."""


class ViewingError(Exception):
    """There is nothing to view, or it cannot go on. Says why, and what to do."""


class UsageError(Exception):
    """The options do not go together. Names them."""


def run_view(options: argparse.Namespace) -> int:
    """View until the host ends the stream, Ctrl-C, or what the options say."""
    try:
        view = _View(options, _check(options))
        if asyncio.run(until_interrupted(view.run())) and not view.pictured:
            raise ViewingError("no picture had come when it was ended")
    except UsageError as error:
        print(f"playcast view: error: {error}", file=sys.stderr)
        return 2
    except ViewingError as error:
        print(f"playcast view: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever read our output has seen enough. Nothing may be flushed into the broken pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _check(options: argparse.Namespace) -> ViewLink:
    """The link. Raises :class:`UsageError` for what makes no sense, and :class:`ViewingError`."""
    options.token_source = _token_source(options)
    try:
        link = parse_link(
            options.link,
            os.environ.get("PLAYCAST_TOKEN"),
            needs_token=options.token_source is None,
        )
    except ValueError as error:
        raise UsageError(
            f"LINK: {error}. Take what playcast host prints, in quotes: "
            "'http://127.0.0.1:8080/#room=play&token=…'"
        ) from None
    for name, suffix in (("record", ".mkv"), ("snapshot", ".png")):
        path: Path | None = getattr(options, name)
        if path is None:
            continue
        if path.suffix.lower() != suffix:
            raise UsageError(f"--{name} takes a file that ends in {suffix}, not {path.name!r}")
        if not path.parent.is_dir():
            raise UsageError(f"--{name}: there is no folder {path.parent}")
    if options.fullscreen and not options.window:
        raise UsageError("--fullscreen is the window's: it needs --window")
    return link


def _token_source(options: argparse.Namespace) -> TokenSource | None:
    from peer.cli_tokens import token_source_of
    from peer.signalling_settings import TokenUnavailable

    try:
        return token_source_of(options)
    except ValueError as error:
        raise UsageError(str(error)) from None
    except TokenUnavailable as error:
        raise ViewingError(f"--login: {error}") from error


class _View:
    """One run of the command."""

    def __init__(self, options: argparse.Namespace, link: ViewLink) -> None:
        self._options = options
        self._link = link
        self._done = asyncio.Event()
        self._failure: BaseException | None = None
        self._recorder: Recorder | None = None
        self._window: PictureWindow | None = None
        self.pictured = False
        """There was a picture."""
        self._reported_ns = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._status: Face[Viewed]
        self._meter: ViewMeter
        self._viewing: Viewing
        self._spans: Spans

    async def run(self) -> None:
        """Raises :class:`ViewingError`."""
        from native import clock_ns
        from peer.spans import ROOT_SPAN, Spans, new_traceparent, process_start
        from peer.status_faces import face_for
        from peer.view_report import ViewMeter
        from peer.view_status import ViewScript
        from peer.viewing import Viewing, ViewingSettings

        options = self._options
        self._spans = Spans(new_traceparent())
        self._spans.begin(ROOT_SPAN, process_start())
        async with contextlib.AsyncExitStack() as stack:
            self._window = _open_window(options, self._link)
            if self._window is not None:
                stack.callback(self._window.close)
            hub = _open_hub(options, self._link)
            stack.push_async_callback(hub.close)
            self._recorder = self._open_recorder(options.record)
            if self._recorder is not None:
                stack.callback(self._close_recorder, self._recorder)
            self._status = stack.enter_context(face_for(sys.stdout, as_json=options.json))
            self._meter = ViewMeter(clock_ns())
            self._viewing = Viewing(
                hub,
                self._signalling(),
                ViewingSettings(
                    _receiving(options), patience_s=options.wait, asks=tuple(options.ask)
                ),
                on_track=self._received,
                on_message=self._meter.host_told,
                on_news=self._status.say,
                spans=self._spans,
            )
            stack.push_async_callback(self._viewing.close)
            stack.push_async_callback(self._end_tasks)
            self._status.started(ViewScript(self._link.page, self._link.room))
            try:
                await self._view()
            finally:
                self.pictured = self.pictured or self._viewing.seen

    async def _view(self) -> None:
        """Raises what ended it, unless that is an end as wished."""
        from native import clock_ns
        from peer.signalling_client import SignallingRefused
        from peer.viewing import NoPicture

        viewing = self._spawn(self._viewing.run())
        self._spawn(self._report())
        if self._options.duration:
            self._spawn(self._end_after(self._options.duration))
        if self._window is not None:
            self._spawn(self._watch_window(self._window))
        try:
            done = self._spawn(self._wait_done())
            await asyncio.wait({viewing, done}, return_when=asyncio.FIRST_COMPLETED)
            pictured = self.pictured or self._viewing.seen
            if pictured and clock_ns() - self._reported_ns > LAST_REPORT_NS:
                self._show_report()
            if self._failure is not None:
                raise self._failure
            if viewing.done():
                viewing.result()
        except NoPicture as error:
            raise ViewingError(advice_on(error, self._link)) from error
        except SignallingRefused as error:
            by_link = self._options.token_source is None
            raise ViewingError(refusal_words(error, by_link=by_link)) from error
        if not pictured:
            trouble = self._viewing.trouble or "the host has ended the stream"
            raise ViewingError(f"no picture came until the end: {trouble}")
        if viewing.done():
            self._status.say("The host has ended the stream.")

    def _signalling(self) -> SignallingClient:
        from peer.signalling_client import SignallingClient, SignallingClientSettings

        link = self._link
        return SignallingClient(
            SignallingClientSettings(
                url=link.websocket_url,
                other_urls=tuple(self._options.signalling),
                token=link.token,
                room=link.room,
                role="viewer",
                name=self._options.name,
                region=self._options.turn_region,
            ),
            fresh_token=self._options.token_source,
            spans=self._spans,
        )

    # What is done with the picture ----------------------------------------------------------------

    def _received(self, connection: ReceivingConnection) -> None:
        """A connection has a track: the first, or one that replaces it."""
        self._meter.restart()
        assert connection.track is not None
        assert connection.offer is not None
        assert connection.offer.video is not None
        if self._recorder is not None:
            self._recorder.attach(connection.track, connection.offer.video.codec)
        if self._window is not None or (self._options.snapshot and not self.pictured):
            self._spawn(self._take_pictures(connection.track))

    async def _take_pictures(self, track: ReceivedTrack) -> None:
        from aiortc.mediastreams import MediaStreamError

        from peer.window import WindowError

        try:
            while True:
                picture = await track.recv_picture()
                if self._options.snapshot and not self.pictured:
                    self._take_snapshot(picture)
                self.pictured = True
                if self._window is None:
                    return
                self._window.show(picture)
        except MediaStreamError:
            return
        except WindowError as error:
            raise ViewingError(str(error)) from error

    def _take_snapshot(self, picture: Picture) -> None:
        from peer.recording import write_png

        options = self._options
        try:
            write_png(picture, options.snapshot)
        except OSError as error:
            reason = f"--snapshot: cannot write {options.snapshot}: {os_error_words(error)}"
            raise ViewingError(reason) from error
        self._status.say(f"Snapshot: {options.snapshot}, {picture.width} x {picture.height}")
        if not (options.record or options.window or options.duration):
            self._done.set()

    def _open_recorder(self, path: Path | None) -> Recorder | None:
        if path is None:
            return None
        from peer.recording import Recorder

        try:
            return Recorder(path, self._recording_failed)
        except FileExistsError:
            raise ViewingError(
                f"--record: {path} is there already: delete it, or take another name"
            ) from None
        except OSError as error:
            raise ViewingError(f"--record: cannot write {path}: {os_error_words(error)}") from error

    def _close_recorder(self, recorder: Recorder) -> None:
        try:
            recorder.close()
        except OSError as error:
            reason = f"--record: cannot finish {recorder.path}: {os_error_words(error)}"
            raise ViewingError(reason) from error

    def _recording_failed(self, error: OSError) -> None:
        reason = f"--record: cannot write {self._options.record}: {os_error_words(error)}"
        self._failure = self._failure or ViewingError(reason)
        self._done.set()

    async def _watch_window(self, window: PictureWindow) -> None:
        while window.alive():  # noqa: ASYNC110 (SDL has no descriptor)
            await asyncio.sleep(WINDOW_POLL_S)
        self._done.set()

    # What is said -------------------------------------------------------------------------------

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(REPORT_S)
            self._show_report()

    def _show_report(self) -> None:
        from native import clock_ns
        from peer.room_view import report_of
        from peer.view_status import RecordingReport, Viewed

        connection, recorder = self._viewing.connection, self._recorder
        reception = connection.reception if connection else None
        stats = connection.stats() if connection else None
        video = connection.offer.video if connection and connection.offer else None
        path = "" if stats is None or stats.path is None else f"{stats.path.host}:{stats.path.port}"
        self._reported_ns = clock_ns()
        report = self._meter.read(
            self._reported_ns,
            None if reception is None or reception.closed else reception,
            state=self._viewing.state.value,
            trouble=self._viewing.trouble,
            path=f"{path} (relayed)" if stats and stats.relayed else path,
            codec=video.codec.name if video else "",
            rtt_ms=stats.ice_rtt_ms if stats else None,
        )
        recording = None
        if recorder is not None:
            recording = RecordingReport(
                str(recorder.path), recorder.frames, recorder.bytes, recorder.seconds
            )
        room = self._viewing.room
        self._status.show(
            Viewed(report, recording, report_of(room, self._viewing.rtt_ms) if room.role else None)
        )

    # The end ------------------------------------------------------------------------------------

    async def _end_after(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._done.set()

    async def _wait_done(self) -> None:
        await self._done.wait()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)
        return task

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = self._failure or error
            self._done.set()

    async def _end_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


# Parts ------------------------------------------------------------------------------------------


def _open_window(options: argparse.Namespace, link: ViewLink) -> PictureWindow | None:
    if not options.window:
        return None
    from peer.window import PictureWindow, WindowError

    try:
        return PictureWindow(f"{link.room} – Playcast", fullscreen=options.fullscreen)
    except WindowError as error:
        raise ViewingError(str(error)) from error


def _open_hub(options: argparse.Namespace, link: ViewLink) -> MediaHub:
    from native import NativeError
    from peer.hub import HubSettings, MediaHub

    hosts = (link.host, *(urlsplit(url).hostname or "" for url in options.signalling))
    bind = tuple(options.bind or (LOOPBACK if all(map(_is_loopback, hosts)) else ()))
    try:
        return MediaHub(HubSettings(bind=bind, port=options.udp_port, realtime=True))
    except NativeError as error:
        where = f"--udp-port {options.udp_port}, --bind {' '.join(bind) or 'every address'}"
        raise ViewingError(f"cannot open the media sockets ({where}): {error.strerror}") from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _receiving(options: argparse.Namespace) -> ReceivingSettings:
    from native import Codec, SrtpProfile
    from peer.dtls import GCM_PROFILES
    from peer.ice import IceSettings
    from peer.receiving import ReceivingSettings
    from peer.sdp_answer import Wanted

    wanted = Wanted(rtx=not options.no_rtx, flexfec=not options.no_fec)
    if options.codec:
        wanted = replace(wanted, codecs=(Codec[options.codec.upper()],))
    counter_mode = (SrtpProfile.AES128_CM_SHA1_80,) if options.srtp_cm80 else ()
    return ReceivingSettings(
        ice=IceSettings(relay_only=options.relay_only),
        srtp_profiles=(*GCM_PROFILES, *counter_mode),
        wanted=wanted,
        jitter_target_ms=options.jitter,
        decode_threads=options.threads,
        picture_depth=1 if options.window else 0,
        keep_units=options.record is not None,
        read_pattern=True,
    )
