"""What infra/ has for operators is true: alerts fire, names exist, examples are accepted."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from integrations.config.sources import load
from signalling.metrics import Metrics

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "infra" / "prometheus"
UNIT = ROOT / "infra" / "systemd" / "playcast-signalling@.service"

needs_promtool = pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is missing")


def promtool(*words: str, text: str = "") -> str:
    done = subprocess.run(
        ["promtool", *words],
        cwd=PROMETHEUS,
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def rules() -> str:
    return (PROMETHEUS / "alerts.yml").read_text(encoding="utf-8")


def alerts() -> list[str]:
    return re.findall(r"alert: (\w+)", rules())


@needs_promtool
def test_alerts_fire_when_they_should_and_only_then():
    assert f"{len(alerts())} rules" in promtool("check", "rules", "alerts.yml")
    promtool("test", "rules", "alerts.test.yml")


def test_every_alert_is_seen_to_fire_and_to_be_quiet():
    text = (PROMETHEUS / "alerts.test.yml").read_text(encoding="utf-8")
    fired = set(re.findall(r"alertname: (\w+)\n\s+exp_alerts:\n\s+- exp_labels", text))
    assert fired == set(alerts())


@needs_promtool
def test_promtool_finds_nothing_wrong_with_our_metrics():
    metrics = Metrics(version="1", process=True)
    metrics.received("offer", 1)
    metrics.auth_failed("bad-token")
    promtool("check", "metrics", text=metrics.render().decode())


def test_alerts_are_about_metrics_that_there_are():
    text = Metrics(process=True).render().decode()
    known = set(re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE))
    known |= {f"{name}_{part}" for name in known for part in ("bucket", "count", "sum")}
    used = set(re.findall(r"\b(?:playcast|process)_\w+", rules()))
    assert used
    assert used <= known


def test_every_alert_has_a_runbook_in_the_documents():
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in headings}
    runbooks = re.findall(r"runbook: docs/operations\.md#(\S+)", rules())
    assert len(runbooks) == len(alerts())
    assert set(runbooks) <= anchors
    for name in alerts():
        assert f"`{name}`" in text
    links = re.findall(r"\]\(#([\w-]+)\)", text)
    assert set(links) <= anchors


def test_every_metric_is_in_the_documents():
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    for name in re.findall(r"^# TYPE playcast_(\w+) ", Metrics().render().decode(), re.MULTILINE):
        assert re.search(rf"`{name}[`{{]", text), name


def test_the_example_configuration_is_accepted(tmp_path: Path):
    (tmp_path / "redis__url").write_text("rediss://games:password@redis.example:6379/0\n")
    file = ROOT / "infra" / "config" / "playcast.toml"
    loaded = load(file=file, secrets=tmp_path, environment={})
    assert loaded.settings.environment == "production"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is missing")
def test_systemd_understands_the_unit(tmp_path: Path):
    unit = tmp_path / "playcast-signalling@8080.service"
    text = UNIT.read_text(encoding="utf-8").replace("/opt/playcast/bin/playcast", "/bin/true")
    # The user is made at installation, and systemd looks for it.
    unit.write_text(re.sub(r"^(User|Group)=playcast$", r"\1=root", text, flags=re.MULTILINE))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
