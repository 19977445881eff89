// SPDX-License-Identifier: Apache-2.0
//
// Registries that are pullgate's own: the canary, and what stands for every registry that a site does not list.
//
// The canary is an image that no site allows.
// Everything in this registry is denied by every gateway, in monitor mode too, whatever the registries and rules say,
// and nobody is ever asked for it, the resolver included. So whoever asks a gateway about it learns whether that
// gateway denies, and how a denial looks there.
//
// The other name is where `pullgate client podman` sends the registries that no site lists, as that client's
// configuration cannot keep their own names; nothing else ever asks for it, so its denials are plain. Pure; any thread.

#pragma once

#include <stdbool.h>

#define CANARY_REGISTRY "canary.pullgate.invalid"
#define CANARY_REPOSITORY "denied"
#define CANARY_TAG "always"
#define CANARY_IMAGE CANARY_REGISTRY "/" CANARY_REPOSITORY ":" CANARY_TAG

#define UNLISTED_REGISTRY "unlisted.pullgate.invalid"

/// Is this canonical registry the canary's, at whatever port?
bool is_canary(const char *registry);

/// Does it stand for the registries that are not listed?
bool is_unlisted_stand_in(const char *registry);
