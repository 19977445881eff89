// SPDX-License-Identifier: Apache-2.0
//
// For tests of blobs and their readers: a shop that sells one blob in every way an upstream may, a bed with a store in
// a directory of its own, and a client that reads as the front does.

#pragma once

#include "mirrors/content/content.h"
#include "tests/unit/bed.h"

enum { CLIENT_WINDOW = 64 * 1024 };

/// What the upstream has and how it behaves. Set before it is asked.
struct shop {
    char *data;
    size_t size;
    char digest[DIGEST_TEXT_MAX + 1];
    bool chunked;           ///< Says nothing of its length.
    bool wrong;             ///< The last byte is another.
    bool no_ranges;         ///< Answers them with all of it.
    _Atomic size_t gate;    ///< Bytes of a whole answer from here on wait until it is moved; SIZE_MAX: none do.
    atomic_bool end_waits;  ///< So does the end of a chunked answer.
    _Atomic size_t cut;     ///< The next whole answer breaks off here; 0: none does.
    atomic_bool end_breaks; ///< It never comes: the connection is cut instead.
    atomic_int status;      ///< Instead of 200; 0: none. A repository that begins with "none" has nothing;
                            ///< one that begins with "nohead" knows no HEAD, and "nothead" has nothing either.
    atomic_uint whole, ranges, heads; ///< Asked for.
};

void shop_init(struct shop *s, size_t size);
void shop_deinit(struct shop *s);

struct house {
    struct shop shop;
    struct bed bed;
    char directory[64];
    struct store *store;
    struct content_place place; ///< bed.place with terms; to be copied for others.
};

/// `size`: of the shop's blob. The shop may be changed until something is asked for.
void house_open(struct house *h, size_t size, bool with_store);

/// As after a restart: the same directory, shop and upstream.
void house_reopen(struct house *h);
void house_close(struct house *h);

/// Wait until the store has the shop's blob; false: it did not come.
bool house_holds(struct house *h, const struct content_place *place);

struct client {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int answered, released, wakes;
    bool readable;
    struct reader_answer answer; ///< Its `fetch` points to the copy below.
    struct fetch_result fetch;
    struct reader *reader;
    char *body;
    size_t len, room;
    enum reader_state state;
    struct err err;
    bool wrong_content;
    bool cold; ///< Something was.
};

struct client *client_open(struct house *h, const struct content_place *place, bool head, const struct range *range);

/// Answered, which must come exactly once.
void client_await(struct client *c);

/// Read until `len` bytes are there or nothing more comes.
void client_read(struct client *c, size_t len);

/// Take what is there now; false when there is nothing.
bool client_take(struct client *c, size_t max);

/// Is what was read the shop's bytes from `first` on?
bool client_has(const struct client *c, const struct shop *s, size_t first, size_t len);

/// Close and wait until it is released.
void client_close(struct client *c);
