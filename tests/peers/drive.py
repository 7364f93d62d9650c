"""tuspy, in the environment where it is installed: one upload, told by a JSON object."""

from __future__ import annotations

import json
import sys

from tusclient import client
from tusclient.storage.filestorage import FileStorage

job = json.loads(sys.argv[1])
options = job["options"]
if job["storage"] is not None:
    options |= {"store_url": True, "url_storage": FileStorage(job["storage"])}
there = client.TusClient(job["endpoint"], headers=job["headers"])
uploader = there.uploader(job["file"], **options)
began_at = uploader.offset
uploader.upload(stop_at=job["stop_at"])
print(json.dumps({"url": uploader.url, "began_at": began_at, "offset": uploader.offset}))
