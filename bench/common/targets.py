"""The figures to reach, by metric. A metric without one is told for its own sake."""

TARGETS = {
    "pipeline.1080p60.game.capture_to_last_packet_p50_ms": 6.0,
    "pipeline.1080p60.game.last_packet_over_encode": 1.25,
    "pipeline.1080p60.game.first_over_last": 0.5,
    "pipeline.1080p60.game.cpu_over_encoder": 1.15,
    "kernels.send.gcm.kpps": 800.0,
    "latency.headless.720p30.p50_ms": 6.0,
    "latency.headless.1080p60.p50_ms": 9.5,
    "latency.chromium.720p30.p50_ms": 9.0,
    "latency.chromium.720p30.p99_ms": 20.0,
    "latency.chromium.1080p60.p50_ms": 12.0,
    "latency.chromium.1080p60.p99_ms": 25.0,
    "join.chromium_ms": 250.0,
    "startup.first_frame_s": 3.0,
    "fanout.viewers_per_core": 800.0,
    "soak.growth_kib": 0.0,
}
