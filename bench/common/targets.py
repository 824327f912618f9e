"""The figures to reach, by metric. A metric without one is told for its own sake."""


def _network() -> dict[str, float]:
    targets = {
        "network.step-40.ours.drain_s": 1.0,
        "network.self3.ours.jain": 0.95,
        "network.join.ours.full_quality_s": 1.0,
        "network.cubic.share_over_gcc": 2.0,
        "network.burst5-10.misses_over_fec20": 0.68,
        "network.burst5-10.misses_2rtt_over_fec20": 0.68,
        "network.burst5-10.overhead_over_fec20": 0.6,
        "network.tcp-cubic.share_over_gcc": 2.0,
        "network.live-5.1.frame_delay_p95_over_chromium": 0.33,
        "network.live-5.1.mbps_over_chromium": 1.1,
    }
    for case in ("5.1", "5.2", "5.3"):
        for suite in ("rfc8867", "x10"):
            targets[f"network.{suite}-{case}.ours.utilisation"] = 0.85
            targets[f"network.{suite}-{case}.ours.queue_p95_ms"] = 30.0
    for loss in (1, 2, 5):
        for rtt_ms in (5, 30):
            name = f"network.loss{loss}-rtt{rtt_ms}.ours"
            targets[f"{name}.freezes_per_min"] = 0.0
            targets[f"{name}.frame_delay_p99_ms"] = round(1.5 * rtt_ms + 1000 / 60, 1)
            targets[f"{name}.overhead"] = 0.2
    return targets


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
    "signalling.relay_msgs_per_s": 25_000.0,
    "signalling.relay_msgs_per_cpu_s": 25_000.0,
    "signalling.idle_conn_kib": 14.0,
    "signalling.storm_refused": 0.0,
    "signalling.relay_p99_ms_at_10k": 20.0,
    "signalling.relay_p99_ms_in_storm_to_10k": 20.0,
    "signalling.jwt_verify_us": 100.0,
    "signalling.redis_added_p50_ms": 1.0,
    "signalling.redis_added_p99_ms": 5.0,
    "signalling.decode_route_encode_us": 15.0,
    "signalling.redis_restart_recovery_s": 2.0,
    "signalling.redis_restart_lost": 0.0,
    **{
        f"signalling.hostile.{kind}.p99_ratio": 2.0
        for kind in ("slow_readers", "floods", "oversize", "half_open", "bad_tokens")
    },
    **_network(),
}
