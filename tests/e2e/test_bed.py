# SPDX-License-Identifier: Apache-2.0
"""The ground that the other stories stand on: docker.io is there for every client. No gateway takes part."""

import pytest

from bed import clients as kinds
from bed.images import GREETING, image, multi_arch, unique


@pytest.mark.parametrize("kind", kinds.WITH_FALLBACK)
def test_a_client_whose_mirror_is_down_gets_the_image_from_docker_hub(kind, bed, hub, clients):
    # So a refusal in the other stories is the gateway's doing: nothing else keeps this client from docker.io.
    pushed = hub.push(f"library/{unique('ok')}", "1", image())
    mark = hub.mark()
    client = clients(kind, "down.test")
    output = client.use(pushed.by_tag).must_work()
    assert not client.can_run or GREETING in output
    asked = hub.since(mark, pushed.repository)
    assert [line for line in asked if "/blobs/" in line.path and line.status == 307], asked
    assert [request for request in bed.hub.blobs.requests if "X-Amz-Signature" in request.query and request.status == 200]


def test_docker_hub_asks_for_a_token_and_redirects_blobs_to_a_host_that_refuses_credentials(bed, hub):
    pushed = hub.push(f"library/{unique('ok')}", "1", multi_arch())
    assert hub.has(pushed)
    layer = pushed.document.children[0].value["layers"][0]["digest"]
    status, headers, _ = hub.ask("GET", f"/v2/{pushed.repository}/blobs/{layer}", pushed.repository)
    assert status == 307 and headers["Location"].startswith("https://production.cloudfront.docker.com/docker-images-prod/")
