"""What GStreamer's rtpsession reads from transport-wide feedback.

Input, one line of JSON: {"packets": how many are sent, "feedback": [packets in hex]}, which tell of
all of them. Output: a list of [sequence number, time in ns or null when lost], as its TWCC manager
reports them to encoders.
Runs under the system's Python, which has PyGObject.
"""

import json
import struct
import sys

import gi

gi.require_version("Gst", "1.0")
from gi.repository import GLib, Gst  # noqa: E402

SSRC = 0xBB
NEVER = 2**64 - 1
CAPS = (
    "application/x-rtp, media=video, clock-rate=90000, encoding-name=H264, payload=100,"
    f" ssrc=(uint){SSRC},"
    " extmap-1=http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
)
PIPELINE = f"""
    rtpsession name=session
    appsrc name=media format=time caps="{CAPS}" ! session.send_rtp_sink
    session.send_rtp_src ! appsink name=sent sync=false
    appsrc name=feedback format=time caps="application/x-rtcp" ! session.recv_rtcp_sink
    session.sync_src ! fakesink name=heard sync=false async=false signal-handoffs=true
    session.send_rtcp_src ! fakesink sync=false async=false
"""


def rtp(index: int) -> bytes:
    header = struct.pack("!BBHII", 0x90, 100, index & 0xFFFF, index * 90, SSRC)
    return header + b"\xbe\xde\x00\x01" + b"\x11\x00\x00\x00" + b"payload"


def tell(feedback: Gst.Element, packets: list[str]) -> bool:
    for packet in packets:
        feedback.emit("push-buffer", Gst.Buffer.new_wrapped(bytes.fromhex(packet)))
    return GLib.SOURCE_REMOVE


def main() -> None:
    Gst.init(None)
    task = json.loads(sys.stdin.readline())
    pipeline = Gst.parse_launch(PIPELINE)
    media, feedback, sent = (pipeline.get_by_name(n) for n in ("media", "feedback", "sent"))
    reports: list[list[int | None]] = []
    loop = GLib.MainLoop()

    def on_event(_pad: Gst.Pad, info: Gst.PadProbeInfo) -> Gst.PadProbeReturn:
        structure = info.get_event().get_structure()
        if structure is not None and structure.get_name() == "RTPTWCCPackets":
            for packet in structure.get_value("packets"):
                lost = packet.get_value("lost")
                time = packet.get_value("remote-ts")
                reports.append([packet.get_value("seqnum"), None if lost else time])
            if len(reports) >= task["packets"]:
                loop.quit()
        return Gst.PadProbeReturn.OK

    media.get_static_pad("src").add_probe(Gst.PadProbeType.EVENT_UPSTREAM, on_event)
    pipeline.set_state(Gst.State.PLAYING)
    for i in range(task["packets"]):
        media.emit("push-buffer", Gst.Buffer.new_wrapped(rtp(i)))
        sample = sent.emit("try-pull-sample", 5 * Gst.SECOND)
        data = sample.get_buffer().extract_dup(0, 20)
        assert struct.unpack("!H", data[17:19])[0] == i, "it numbers packets from 0"
    bus = pipeline.get_bus()
    bus.add_signal_watch()
    bus.connect("message::error", lambda _bus, message: sys.exit(str(message.parse_error())))
    GLib.idle_add(tell, feedback, task["feedback"])
    GLib.timeout_add_seconds(30, loop.quit)
    loop.run()
    pipeline.set_state(Gst.State.NULL)
    print(json.dumps(reports))


main()
