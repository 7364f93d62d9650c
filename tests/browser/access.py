"""What those need who have no mouse or do not see: Tab leads everywhere, axe-core is content."""

from __future__ import annotations

from importlib.resources import files

from playwright.sync_api import Page

AXE = (files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")


def tab_to(page: Page, name: str) -> None:
    """Press Tab until the control called *name* has the focus."""
    for _ in range(200):  # whatever is stored on this page
        page.keyboard.press("Tab")
        label = page.evaluate(
            """() => {
              const { activeElement: it } = document;
              return it === document.body ? "" : it.ariaLabel ?? it.textContent.trim();
            }"""
        )
        if name in label:
            return
    raise AssertionError(f"Tab does not lead to {name}")


def faults(page: Page, *, dark: bool = False) -> list[str]:
    """What axe-core finds wrong in the page as it is; *dark*: also with the other colours."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    found: list[str] = []
    for scheme in ("light", "dark") if dark else ("light",):
        page.emulate_media(reduced_motion="reduce")
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # it takes Literals
        rules = "{}" if scheme == "light" else "{ runOnly: ['color-contrast'] }"
        result = page.evaluate(f"axe.run({rules})")
        found += [
            f"{scheme}: {fault['id']}: {node['html']}"
            for fault in result["violations"]
            for node in fault["nodes"]
        ]
    return found
