"""Videos at length: killed processes, flat memory, and a browser that plays the result."""

import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from fractions import Fraction
from functools import partial
from pathlib import Path

import pytest
from clips import decoded, make_clip, packets

from roadseg.media.video_writer import count_frames

pytestmark = pytest.mark.slow
ROADSEG = (sys.executable, "-c", "from roadseg.cli.app import main; main()")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def test_after_kill_9_the_partial_file_plays_and_a_rerun_does_it_all(
    tmp_path: Path, tiny_weights: Path
) -> None:
    source = make_clip(tmp_path / "in.mp4", count=3000, size=(180, 320), sound=True)
    command = [*ROADSEG, "video", str(source), "-w", str(tiny_weights), "--device", "cpu"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    partial_file = tmp_path / "in.roadseg.partial.mp4"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (
        partial_file.exists() and partial_file.stat().st_size > 400_000
    ):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "in.roadseg.mp4").exists()
    assert len(decoded(partial_file)) >= 25  # a second or two
    subprocess.run([*command, "--quiet"], cwd=tmp_path, check=True, timeout=250, stdout=subprocess.DEVNULL)
    assert count_frames(tmp_path / "in.roadseg.mp4") == 3000
    assert packets(tmp_path / "in.roadseg.mp4", "audio") == packets(source, "audio")
    assert not partial_file.exists()


def test_memory_does_not_grow_with_the_length(tmp_path: Path, tiny_weights: Path) -> None:
    peaks = []
    for count in (300, 3000):
        source = make_clip(tmp_path / f"{count}.mp4", count=count, size=(180, 320))
        code = (
            "import resource, sys; from roadseg.cli.app import app; "
            "app(sys.argv[1:], standalone_mode=False); "
            "print('PEAK', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        arguments = ["video", str(source), "-w", str(tiny_weights), "--device", "cpu", "--quiet"]
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=tmp_path, capture_output=True, text=True, timeout=250, check=True,
        )  # fmt: skip
        peaks.append(int(done.stdout.split("PEAK")[1]))
    assert peaks[1] < 1.05 * peaks[0], peaks


# As a blob: Python's own server answers no byte ranges, which seeking needs.
PAGE = """<video id=v muted></video><script>
const v = document.getElementById("v");
const tell = what => fetch("/told", {method: "POST", body: JSON.stringify(what)});
v.onerror = () => tell({error: v.error.message});
v.onloadeddata = () => { v.currentTime = v.duration / 2; };
v.onseeked = () => tell({ready: v.readyState, width: v.videoWidth, height: v.videoHeight, at: v.currentTime,
                         duration: v.duration});
fetch("in.roadseg.mp4").then(answer => answer.blob()).then(blob => { v.src = URL.createObjectURL(blob); });
</script>"""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_a_browser_plays_it_and_seeks(tmp_path: Path, tiny_weights: Path) -> None:
    assert BROWSER is not None
    source = make_clip(
        tmp_path / "in.mp4", count=100, size=(180, 320), rate=Fraction(30000, 1001), sound=True
    )
    command = [*ROADSEG, "video", str(source), "-w", str(tiny_weights), "--device", "cpu", "--quiet"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=120, stdout=subprocess.DEVNULL)
    (tmp_path / "page.html").write_text(PAGE)
    told: list[dict[str, float]] = []
    heard = threading.Event()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()
            heard.set()

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Handler, directory=str(tmp_path))
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/page.html"
        options = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={tmp_path / 'profile'}",
        ]
        browser = subprocess.Popen(
            [BROWSER, *options, address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        try:
            assert heard.wait(90), "the page said nothing"
        finally:
            os.killpg(browser.pid, signal.SIGKILL)
            browser.wait()
            server.shutdown()
    duration = 100 * 1001 / 30000
    assert told[0]["ready"] >= 2
    assert (told[0]["width"], told[0]["height"]) == (320, 180)
    assert told[0]["duration"] == pytest.approx(duration, abs=0.05)
    assert told[0]["at"] == pytest.approx(duration / 2, abs=0.05)
