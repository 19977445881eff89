# SPDX-License-Identifier: Apache-2.0
"""Images made in memory. Every one is unique, so that no client and no gateway has seen any of it before."""

import gzip
import hashlib
import io
import itertools
import json
import os
import tarfile

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"

GREETING = "a container from the bed ran"  # what every runnable image prints

_number = itertools.count(1)


def unique(word):
    """A name that no other story uses."""
    return f"{word}-{next(_number)}-{os.urandom(3).hex()}"


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def archive(files):
    """A tar of {path: bytes}, executable, owned by root."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o755
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


_busybox = None


def busybox_layer():
    """The layer that makes an image runnable: (plain tar, gzip), the same in all images."""
    global _busybox
    if _busybox is None:
        with open("/bin/busybox", "rb") as file:
            tar = archive({"bin/busybox": file.read()})
        _busybox = (tar, gzip.compress(tar, 1, mtime=0))
    return _busybox


class Document:
    """A manifest or an index as it is pushed: bytes, type, digest; and the blobs or children it needs."""

    def __init__(self, value, media_type, blobs=(), children=()):
        self.value, self.media_type = value, media_type
        self.bytes = value if isinstance(value, bytes) else json.dumps(value, indent=1).encode()
        self.digest = digest_of(self.bytes)
        self.blobs, self.children = list(blobs), list(children)

    def descriptor(self, **more):
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.bytes), **more}


def descriptor(media_type, data, **more):
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data), **more}


def image(oci=False, runnable=True, architecture="amd64", size=1000, urls=None, config_urls=None):
    """A single-platform image. `urls` stands in the descriptor of its last layer, `config_urls` in that of its configuration."""
    layers = [busybox_layer()] if runnable else []
    tar = archive({"story": os.urandom(size)})
    layers.append((tar, gzip.compress(tar, 1, mtime=0)))
    config = json.dumps({
        "architecture": architecture, "os": "linux", "config": {"Cmd": ["/bin/busybox", "echo", GREETING]},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(plain) for plain, _ in layers]},
        "history": [{"created_by": "bed"} for _ in layers],
    }).encode()
    layer_type = OCI_LAYER if oci else DOCKER_LAYER
    descriptors = [descriptor(layer_type, packed) for _, packed in layers]
    if urls:
        descriptors[-1]["urls"] = urls
    media_type = OCI_MANIFEST if oci else DOCKER_MANIFEST
    config_descriptor = descriptor(OCI_CONFIG if oci else DOCKER_CONFIG, config, **({"urls": config_urls} if config_urls else {}))
    value = {"schemaVersion": 2, "mediaType": media_type, "config": config_descriptor, "layers": descriptors}
    return Document(value, media_type, blobs=[config] + [packed for _, packed in layers])


def multi_arch(oci=True, urls=None):
    """An index with a child for amd64, which runs here, and one for arm64. `urls` stands in the descriptor of each."""
    more = {"urls": urls} if urls else {}
    children = [image(oci=oci), image(oci=oci, architecture="arm64")]
    manifests = [child.descriptor(platform={"architecture": arch, "os": "linux"}, **more) for child, arch in zip(children, ("amd64", "arm64"))]
    media_type = OCI_INDEX if oci else DOCKER_LIST
    return Document({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests}, media_type, children=children)


def artifact(config_type, layer_type, payload, subject=None):
    """What Helm and ORAS push: a manifest whose config and layers are of types of their own."""
    config = json.dumps({"name": unique("chart")}).encode()
    value = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor(config_type, config), "layers": [descriptor(layer_type, payload)]}
    if subject:
        value["subject"] = subject.descriptor()
    return Document(value, OCI_MANIFEST, blobs=[config, payload])


class Pushed:
    """An image where clients find it."""

    def __init__(self, registry, repository, tag, document):
        self.registry, self.repository, self.tag, self.document = registry, repository, tag, document
        self.digest = document.digest

    @property
    def by_tag(self):
        return f"{self.registry}/{self.repository}:{self.tag}"

    @property
    def by_digest(self):
        return f"{self.registry}/{self.repository}@{self.digest}"

    def __repr__(self):
        return self.by_tag
