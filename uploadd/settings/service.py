"""Settings of what is around the uploads: how the daemon is closed, seen and heard.  Pure."""

from __future__ import annotations

from typing import Literal

from uploadd.settings.declare import section, setting
from uploadd.settings.kinds import ADDRESS, DURATION, TEXT, choice, optional


@section
class Tls:
    """Encryption by the daemon itself; behind a proxy that does it there is no need."""

    cert: str = setting(
        TEXT,
        "",
        "File with the certificate and those between it and the root, PEM. With it server.port"
        " speaks TLS 1.2 and 1.3 and nothing else; unix sockets, behind which a proxy stands, stay"
        " as they are. Read again by a reload, for connections that come after it.",
        reloads=True,
    )
    key: str = setting(
        TEXT,
        "",
        "File with the private key of cert, PEM, without a passphrase. Empty: it is in cert, too.",
        reloads=True,
    )
    handshake: float = setting(DURATION, "10 s", "For the TLS handshake.", reloads=True)


@section
class Admin:
    """Where the daemon tells how it is: /metrics, /healthz, /readyz.  Not for the public."""

    listen: str | None = setting(
        optional(ADDRESS),
        "none",
        'Address and port of this computer, "127.0.0.1:9180", or a unix socket,'
        ' "unix:/run/uploadd/admin.sock", which is what systemd makes it for the unit'
        ' (RuntimeDirectory=) unless another is named; "none": nowhere.',
    )


@section
class Log:
    """What is said on standard error."""

    level: Literal["debug", "info", "warning", "error"] = setting(
        choice("debug", "info", "warning", "error"),
        "info",
        "The least important line that is written to standard error: debug, info, warning or"
        " error.",
        reloads=True,
    )
    format: Literal["auto", "text", "json", "journal"] = setting(
        choice("auto", "text", "json", "journal"),
        "auto",
        'How lines are written: "text"; "json", an object a line; "journal", to systemd\'s journal'
        ' with fields (journalctl UPLOADD_UPLOAD_ID=...). "auto": to the journal when standard'
        " error leads there, else as text.",
    )
