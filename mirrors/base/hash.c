// SPDX-License-Identifier: Apache-2.0
//
// SipHash-1-3 (Aumasson, Bernstein: one round a block, three at the end). No state; any thread.

#include "mirrors/base/hash.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

// Only where the kernel has no getrandom(), which no supported system lacks: worse, yet not constant.
static void key_from_clock(struct hash_key *key) {
    struct timespec now = {0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    key->k0 = (uint64_t)now.tv_nsec * 0x9e3779b97f4a7c15u;
    key->k1 = (uint64_t)(uintptr_t)key ^ (uint64_t)now.tv_sec;
}

void hash_key_random(struct hash_key *key) {
    ssize_t got;
    do
        got = getrandom(key, sizeof *key, 0);
    while (got < 0 && errno == EINTR);
    if (got != (ssize_t)sizeof *key)
        key_from_clock(key);
}

struct sip {
    uint64_t v0, v1, v2, v3;
};

static uint64_t rotate(uint64_t x, unsigned bits) {
    return (x << bits) | (x >> (64 - bits));
}

static void sip_round(struct sip *s) {
    s->v0 += s->v1;
    s->v1 = rotate(s->v1, 13) ^ s->v0;
    s->v0 = rotate(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotate(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotate(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotate(s->v1, 17) ^ s->v2;
    s->v2 = rotate(s->v2, 32);
}

static void sip_block(struct sip *s, uint64_t block) {
    s->v3 ^= block;
    sip_round(s);
    s->v0 ^= block;
}

uint64_t hash_bytes(const struct hash_key *key, const void *data, size_t len) {
    struct sip s = {key->k0 ^ 0x736f6d6570736575u, key->k1 ^ 0x646f72616e646f6du, key->k0 ^ 0x6c7967656e657261u,
                    key->k1 ^ 0x7465646279746573u};
    const unsigned char *p = data;
    size_t left = len;
    for (; left >= 8; left -= 8, p += 8) {
        uint64_t block;
        memcpy(&block, p, sizeof block);
        sip_block(&s, block);
    }
    uint64_t tail = (uint64_t)len << 56;
    for (size_t i = 0; i < left; i++)
        tail |= (uint64_t)p[i] << (8 * i);
    sip_block(&s, tail);
    s.v2 ^= 0xff;
    sip_round(&s);
    sip_round(&s);
    sip_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
