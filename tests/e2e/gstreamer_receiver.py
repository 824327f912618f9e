"""A receiver made of Debian's GStreamer alone: webrtcbin, then libav's H.264 decoder.

Runs under the system's interpreter, which has GStreamer's bindings, and imports nothing of ours.
Speaks JSON lines: on standard input {"offer": sdp}, then on standard output {"answer": sdp},
{"candidate": line} (the value of a=candidate; "" for the end), {"state": connection state}, and
for each decoded frame {"width", "height", "caps", "luma": base64}: the upper ROWS rows of luma, as
wide as the picture. {"error": text} comes before it gives up. Standard input's end ends it.
"""

import base64
import json
import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstVideo", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstApp, GstSdp, GstVideo, GstWebRTC  # noqa: E402, F401

ROWS = 64
DECODE = (
    "rtph264depay ! h264parse ! avdec_h264 ! video/x-raw,format=I420 "
    "! appsink name=sink emit-signals=true sync=false max-buffers=0"
)

_printing = threading.Lock()


def say(**message):
    with _printing:
        print(json.dumps(message), flush=True)


class Receiver:
    def __init__(self, loop):
        self._loop = loop
        self._pipeline = Gst.Pipeline()
        self._webrtc = Gst.ElementFactory.make("webrtcbin")
        self._webrtc.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
        self._pipeline.add(self._webrtc)
        # libnice leaves loopback out unless it is told an address. The agent's reference is
        # floating, and becomes ours by being looked at: without us it would be gone.
        self._ice = self._webrtc.get_property("ice-agent")
        self._ice.emit("add-local-ip-address", "127.0.0.1")
        self._webrtc.connect("pad-added", self._pad_added)
        self._webrtc.connect("on-ice-candidate", lambda _, __, line: say(candidate=line))
        self._webrtc.connect("notify::ice-gathering-state", self._gathering_changed)
        self._webrtc.connect("notify::connection-state", self._state_changed)
        bus = self._pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", self._failed)
        self._pipeline.set_state(Gst.State.PLAYING)

    def stop(self):
        self._pipeline.set_state(Gst.State.NULL)

    def answer(self, offer):
        _, sdp = GstSdp.SDPMessage.new_from_text(offer)
        description = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.OFFER, sdp)
        self._webrtc.emit(
            "set-remote-description", description, Gst.Promise.new_with_change_func(self._offered)
        )

    def _offered(self, promise):
        reply = promise.get_reply()
        if reply is not None and reply.has_field("error"):
            self._give_up(reply.get_value("error").message)
            return
        self._webrtc.emit("create-answer", None, Gst.Promise.new_with_change_func(self._answered))

    def _answered(self, promise):
        reply = promise.get_reply()
        if reply is None or not reply.has_field("answer"):
            self._give_up("no answer was made")
            return
        answer = reply.get_value("answer")
        self._webrtc.emit("set-local-description", answer, Gst.Promise.new())
        say(answer=answer.sdp.as_text())

    def _pad_added(self, _, pad):
        if pad.get_direction() != Gst.PadDirection.SRC:
            return
        decoder = Gst.parse_bin_from_description(DECODE, True)
        decoder.get_by_name("sink").connect("new-sample", self._decoded)
        self._pipeline.add(decoder)
        decoder.sync_state_with_parent()
        pad.link(decoder.get_static_pad("sink"))

    def _decoded(self, sink):
        sample = sink.emit("pull-sample")
        info = GstVideo.VideoInfo.new_from_caps(sample.get_caps())
        buffer = sample.get_buffer()
        meta = GstVideo.buffer_get_video_meta(buffer)
        stride = meta.stride[0] if meta else info.stride[0]
        luma = buffer.extract_dup(meta.offset[0] if meta else info.offset[0], ROWS * stride)
        rows = b"".join(luma[row * stride :][: info.width] for row in range(ROWS))
        say(
            width=info.width,
            height=info.height,
            colorimetry=info.colorimetry.to_string(),
            luma=base64.b64encode(rows).decode(),
        )
        return Gst.FlowReturn.OK

    def _gathering_changed(self, webrtc, _):
        if webrtc.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            say(candidate="")

    def _state_changed(self, webrtc, _):
        say(state=webrtc.get_property("connection-state").value_nick)

    def _failed(self, _, message):
        error, detail = message.parse_error()
        self._give_up(f"{error.message} ({detail})")

    def _give_up(self, reason):
        say(error=reason)
        self._loop.quit()


def read_commands(receiver, loop):
    for line in sys.stdin:
        receiver.answer(json.loads(line)["offer"])
    loop.quit()


def main():
    Gst.init(None)
    loop = GLib.MainLoop()
    receiver = Receiver(loop)
    threading.Thread(target=read_commands, args=(receiver, loop), daemon=True).start()
    loop.run()
    receiver.stop()


if __name__ == "__main__":
    main()
