"""What to write into the configuration of a proxy that does one of these things."""

from __future__ import annotations

from typing import Final

REFUSES_SIZE: Final = (
    "nginx:    client_max_body_size 0;",
    "Caddy:    no request_body { max_size … } for this site",
    "HAProxy:  no http-request deny on req.hdr(content-length) or req.body_size",
)
BUFFERS: Final = (
    "nginx:    proxy_request_buffering off;  proxy_http_version 1.1;",
    "Caddy:    no request_buffers (2.6: buffer_requests) in reverse_proxy",
    "HAProxy:  no option http-buffer-request",
)
STRIPS_UPGRADE: Final = (
    "nginx:    proxy_http_version 1.1;",
    "          proxy_set_header Upgrade $http_upgrade;",
    "          proxy_set_header Connection $connection_upgrade;",
    "          map $http_upgrade $connection_upgrade { default upgrade; '' ''; }  # beside server",
    "Caddy:    no header_up -Upgrade and no header_up Connection …: it passes Upgrade by itself",
    "HAProxy:  no http-request del-header upgrade; in defaults: mode http, timeout tunnel 1h",
)
LOSES_SCHEME: Final = (
    "nginx:    proxy_set_header X-Forwarded-Proto $scheme;",
    "Caddy:    no header_up -X-Forwarded-Proto: it sends it by itself",
    "HAProxy:  http-request set-header X-Forwarded-Proto https if { ssl_fc }",
)
LOSES_HOST: Final = (
    "nginx:    proxy_set_header Host $http_host;",
    "Caddy:    no header_up Host …: it passes Host on by itself",
    "HAProxy:  no http-request set-header Host …",
)
