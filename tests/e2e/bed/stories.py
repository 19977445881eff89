# SPDX-License-Identifier: Apache-2.0
"""What several stories say in the same words."""

import re

from .gateway import ID

# What the clients of the bed call themselves. A registry that saw one of these was asked past the gateway.
CLIENT_AGENTS = re.compile(r"(?i)docker/|containerd|buildkit|containers/|buildah|skopeo|podman|libpod")


def agent(request):
    """The User-Agent of an access log's entry, of a real registry's or of a scripted one's."""
    return getattr(request, "user_agent", None) or request.headers.get("User-Agent", "")


def past_the_gateway(asked):
    return [request for request in asked if CLIENT_AGENTS.search(agent(request))]


def reads_the_words(output, gateway, mark, pushed, *words):
    """The terminal shows these words, and an id under which the gateway's log has a denial of this image."""
    for word in words:
        assert word in output, f"{word!r} is not in:\n{output}"
    printed = ID.findall(output)
    assert printed, f"no id is in:\n{output}"
    for request in set(printed):
        gateway.line(mark, id=request, decision="deny", repository=pushed.repository)


def registry_kept_out(asked, pushed):
    """The registry was asked for no blob at all, and by nobody for the denied tag."""
    assert not [request for request in asked if "/blobs/" in request.path and request.method == "GET" and request.status < 400], asked
    if pushed.tag:
        assert not [request for request in asked if request.path.endswith(f"/manifests/{pushed.tag}")], asked
