"""The page behind nginx: as its sample has it, and without the lines that pass ``Upgrade`` on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Route, WebSocket

from tests.browser.conftest import Opener, Server
from tests.browser.site import MB, choose, row, says
from tests.e2e.fronts import Nginx
from tests.e2e.test_fronts import SAMPLE


@pytest.fixture
def strips(request: pytest.FixtureRequest) -> bool:
    """Whether the two lines are left out."""
    return bool(request.param)


@pytest.fixture
def below() -> str:
    """The path on nginx that is the daemon's root."""
    return "/"


@pytest.fixture
def address(tmp_path: Path, daemon: Server, strips: bool, below: str) -> Iterator[str]:
    """Where nginx has the page."""
    lines = SAMPLE.splitlines()
    if strips:
        without = ("proxy_set_header Upgrade", "proxy_set_header Connection")
        lines = [line for line in lines if not line.strip().startswith(without)]
    text = "\n".join(lines)
    if below != "/":  # a path behind proxy_pass takes the place of the location's
        text = text.replace("location / {", f"location {below} {{")
        text = text.replace("http://uploadd;", "http://uploadd/;")
    (tmp_path / "nginx").mkdir()
    nginx = Nginx(tmp_path / "nginx", text)
    nginx.start(daemon.port)
    yield f"http://127.0.0.1:{nginx.port}{below}"
    nginx.stop()


@pytest.mark.parametrize("below", ["/", "/files/drop/"])
@pytest.mark.parametrize("strips", [False, True], indirect=True, ids=["as shipped", "stripped"])
def test_a_file_arrives_whole_and_is_found_where_the_page_says(
    open_page: Opener, address: str, daemon: Server, strips: bool, tmp_path: Path
) -> None:
    """By WebSocket, or by tus where that does not get through."""
    page, appends, framed = open_page(address), list[str](), list[WebSocket]()
    page.on("request", lambda it: appends.append(it.method) if it.method == "PATCH" else None)
    page.on("websocket", lambda it: it.on("framereceived", lambda _: framed.append(it)))
    source = tmp_path / "film.bin"
    source.write_bytes(bytes(range(250)) * 20_000)
    choose(page, source)
    says(page, "film.bin", "Stored")
    assert (daemon.dir / "film.bin").read_bytes() == source.read_bytes()
    assert bool(appends) is strips
    assert bool(framed) is not strips
    link = row(page, "film.bin").get_by_role("link", name="film.bin", exact=True)
    assert page.request.get(link.evaluate("it => it.href")).body() == source.read_bytes()


@pytest.mark.parametrize("strips", [True], indirect=True)
def test_of_two_tabs_the_newest_carries_it(
    browser: Browser, address: str, daemon: Server, tmp_path: Path
) -> None:
    """Over the fallback as over WebSocket; nothing is stored twice."""
    context = browser.new_context()
    context.add_init_script("delete Navigator.prototype.locks")  # as without https
    first, second = context.new_page(), context.new_page()
    first.goto(address)
    source = tmp_path / "film.bin"
    source.write_bytes(bytes(range(250)) * 20_000)
    held: list[Route] = []
    first.route("**/files/*", lambda route: hold(route, held))
    choose(first, source)
    daemon.settles(lambda: first.wait_for_timeout(20) or bool(held))
    second.goto(address)
    says(second, "film.bin", "Choose the same file again")
    choose(second, source)
    says(second, "film.bin", "Stored")
    held[0].continue_()  # at an offset that is not true any more
    says(first, "film.bin", "Stored")
    context.close()
    assert daemon.sizes() == {"film.bin": 5 * MB}


def hold(route: Route, held: list[Route]) -> None:
    """Let the first append wait; all else passes."""
    if route.request.method == "PATCH" and not held:
        held.append(route)
    else:
        route.continue_()
