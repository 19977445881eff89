# SPDX-License-Identifier: Apache-2.0
"""What a kubelet asks of containerd: `cri.py SOCKET pull|status IMAGE`, over gRPC, with its few messages put together by hand."""

import sys

import grpc


def field(number, data):
    length, size = len(data), b""
    while length > 0x7F:
        size, length = size + bytes([length & 0x7F | 0x80]), length >> 7
    return bytes([number << 3 | 2]) + size + bytes([length]) + data


def ask(socket, method, message):
    with grpc.insecure_channel(f"unix://{socket}", options=[("grpc.enable_http_proxy", 0)]) as channel:
        return channel.unary_unary(f"/runtime.v1.ImageService/{method}", lambda data: data, lambda data: data)(message, timeout=300)


def main(socket, what, image=""):
    image_spec = field(1, field(1, image.encode()))
    try:
        if what == "pull":
            print("pulled", ask(socket, "PullImage", image_spec)[2:].decode())
        elif what == "status":
            found = ask(socket, "ImageStatus", image_spec)
            print("there" if found[:1] == b"\x0a" else "not there")
            return 0 if found[:1] == b"\x0a" else 1
        else:
            ask(socket, "ListImages", b"")
    except grpc.RpcError as error:
        print(f"rpc error: code = {error.code().name} desc = {error.details()}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
