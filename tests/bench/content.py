# SPDX-License-Identifier: Apache-2.0
"""What is pulled: pushed to the upstream by its own protocol, different in every run."""

import hashlib
import json
import os
import ssl
import urllib.request

MIB = 1024 * 1024
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


class Content:
    """Random bytes that are cheap to make: one block, of which each piece has its own beginning."""

    def __init__(self, upstream, certs, largest):
        context = ssl.create_default_context(cafile=str(certs / "ca.pem"))
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}),
                                                  urllib.request.HTTPSHandler(context=context))
        self.base = f"https://localhost:{upstream.ports[True]}"
        self.block = bytearray(os.urandom(largest))

    def send(self, url, method, data, kind="application/octet-stream"):
        return self.opener.open(urllib.request.Request(url, method=method, data=data, headers={"Content-Type": kind}))

    def blob(self, repository, size):
        """Upload so many bytes that nobody has seen; their digest."""
        self.block[:16] = os.urandom(16)
        return self.upload(repository, memoryview(self.block)[:size])

    def upload(self, repository, data):
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        with self.send(f"{self.base}/v2/{repository}/blobs/uploads/", "POST", b"") as got:
            place = got.headers["Location"]
        with self.send(place + ("&" if "?" in place else "?") + "digest=" + digest, "PUT", data) as got:
            assert got.status == 201, got.status
        return digest

    def image(self, repository, tag, layers):
        """A manifest as real images have; its digest."""
        salt = os.urandom(8).hex()
        config = self.upload(repository, json.dumps({"architecture": "amd64", "os": "linux", "salt": salt}).encode())
        body = json.dumps({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 70},
            "layers": [{"mediaType": LAYER, "digest": d, "size": s} for d, s in layers],
        }, indent=3).encode()
        with self.send(f"{self.base}/v2/{repository}/manifests/{tag}", "PUT", body, MANIFEST) as got:
            assert got.status == 201, got.status
        return "sha256:" + hashlib.sha256(body).hexdigest()
