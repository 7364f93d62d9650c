"""nginx: uploads by its dav module, downloads by sendfile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from bench.contenders.server import Server, contender, free_port, new_folder, process
from bench.installing import program
from bench.machine import program_version

CONF = """\
{user}pid {scratch}/pid; error_log stderr; worker_processes auto; worker_rlimit_nofile 16384;
daemon off;
events {{ worker_connections 8192; }}
http {{
    access_log off; sendfile on; keepalive_requests 1000000000;
    client_max_body_size 0; client_body_buffer_size 64k; client_body_temp_path {temp};
    proxy_temp_path {scratch}; fastcgi_temp_path {scratch}; uwsgi_temp_path {scratch};
    scgi_temp_path {scratch};
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        root {root};
        location / {{ dav_methods PUT DELETE; create_full_put_path on; }}
    }}
}}
"""


@contender("nginx")
def nginx(folder: Path) -> Iterator[Server]:
    """On a folder; what comes in lies beside it until it is whole."""
    binary = program("nginx", "nginx-light")
    port = free_port()
    scratch = new_folder(folder.parent, "nginx")
    temp = new_folder(folder.parent, "nginx.temp")
    user = "user root;\n" if os.geteuid() == 0 else ""  # or it cannot read what is ours
    conf = scratch / "nginx.conf"
    conf.write_text(CONF.format(user=user, scratch=scratch, temp=temp, port=port, root=folder))
    command = [binary, "-e", "stderr", "-c", str(conf)]
    with process(command, folder.parent / "nginx.log", port=port) as (running, _):
        yield Server(
            "nginx", program_version("nginx", "-v"), port, (running.pid,),
            folder, "page cache", False,
        )  # fmt: skip
