# SPDX-License-Identifier: Apache-2.0
"""The bed in which the stories of tests/e2e are told: a small internet of one machine.

Everything lives in namespaces of its own (see inside.py): a network with one address per host on the loopback device, a
private CA, Docker Hub and ghcr.io as real docker-registry processes with token servers and an S3-style blob host, scripted
registries for what a real one does not do on request, the gateway, and the container clients.
"""
