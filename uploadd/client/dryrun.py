"""``--dry-run``: what would be sent, without a connection."""

from __future__ import annotations

from uploadd.client import exits
from uploadd.client.order import Order
from uploadd.client.output import JsonLines, text
from uploadd.client.reporter import Reporter
from uploadd.client.selection import Item
from uploadd.protocol.saying import plural, size


def dry_run(order: Order, reporter: Reporter) -> int:
    """Say it; the exit code: 0, or that of a file that cannot be read."""
    selection = order.selection()
    files = total = failed = 0
    for item in selection.walk():
        if item is None:
            continue
        if item.error is not None:
            failed += 1
            reporter.fail(item.path, item.error)
            continue
        files += 1
        total += item.size or 0
        _tell(order, reporter, item)
    for line in selection.skipped.lines():
        reporter.say(line)
    reporter.say(
        f"would send {plural(files, 'file')}, {size(total)}, to {order.url}"
        f"; {selection.skipped.filtered} left out by --exclude and --newer"
    )
    if order.json:
        summary: dict[str, object] = {"dry_run": True, "files": files, "bytes": total}
        JsonLines(reporter).close(summary | {"failed": failed})
    return exits.of_all({exits.LOCAL} if failed else set(), some=files > 0)


def _tell(order: Order, reporter: Reporter, item: Item) -> None:
    name = order.name or item.relative or item.name
    if order.json:
        members = {"path": text(item.path), "name": name, "length": item.size}
        JsonLines(reporter).write(members)
    else:
        amount = "?" if item.size is None else size(item.size)
        reporter.result(f"{amount:>10}  {name}")
