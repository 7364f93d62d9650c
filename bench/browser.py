"""A large file from chromium: what the page's own client does, without anybody looking on.

Chromium is driven by its debugging protocol with nothing enabled but what is asked for: playwright
has every frame that is sent copied to it, and then measures that.
"""

from __future__ import annotations

import json
import re
import subprocess
import urllib.request
from pathlib import Path
from typing import Any, Self

from websockets.sync.client import connect

_OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--enable-precise-memory-info", "--remote-debugging-port=0", "--remote-allow-origins=*"),
)
_UPLOAD = """(async () => {
  const { Uploader } = await import("/-/uploadd.js");
  const uploader = new Uploader();
  const began = performance.now();
  let heap = 0;
  const file = document.querySelector("#file").files[0];
  const upload = uploader.upload(file, { name: `bench-${Math.random()}.bin` });
  upload.on("progress", () => { heap = Math.max(heap, performance.memory.usedJSHeapSize); });
  await upload;
  uploader.close();
  return { seconds: (performance.now() - began) / 1000, heap };
})()"""


class Chromium:
    """A browser with one tab; it remembers things in *profile*."""

    def __init__(self, profile: Path) -> None:
        command = ["chromium", *_OPTIONS, f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        found = (re.search(r"ws://127.0.0.1:(\d+)/", line) for line in self._process.stderr)
        port = next(match[1] for match in found if match)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
            tab = next(one for one in json.load(answer) if one["type"] == "page")
        self._socket = connect(tab["webSocketDebuggerUrl"], max_size=None)
        self._calls = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()
        self._process.terminate()
        self._process.wait()

    def _call(self, method: str, **params: Any) -> Any:
        self._calls += 1
        said = {"id": self._calls, "method": method, "params": params}
        self._socket.send(json.dumps(said))
        while True:
            told = json.loads(self._socket.recv())
            if told.get("id") == self._calls:
                return told["result"]

    def evaluate(self, script: str) -> Any:
        """What *script* comes to in the page; a promise is awaited."""
        told = self._call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in told:
            raise RuntimeError(json.dumps(told["exceptionDetails"])[:600])
        return told["result"].get("value")

    def open(self, url: str, source: Path) -> None:
        """Open a page of the daemon that does nothing by itself, with *source* chosen on it."""
        self._call("Page.navigate", url=f"{url}/-/info")
        while self.evaluate("location.pathname + document.readyState") != "/-/infocomplete":
            pass
        self.evaluate("document.body.innerHTML = '<input type=file id=file>'; 0")
        root = self._call("DOM.getDocument")["root"]["nodeId"]
        node = self._call("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
        self._call("DOM.setFileInputFiles", nodeId=node, files=[str(source)])

    def upload(self) -> tuple[float, float]:
        """Upload it: seconds, and the most bytes of heap that the tab had."""
        told = self.evaluate(_UPLOAD)
        return told["seconds"], told["heap"]
