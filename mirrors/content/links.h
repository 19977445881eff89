// SPDX-License-Identifier: Apache-2.0
//
// Which tag led to which digest: what lets a client pull by digest under rules that speak of tags.
//
// What is remembered is the link, never a verdict: the rules are asked again, for today's rules and
// today's asker, whenever a link is used. Per repository it holds tags, the digests they led to, and what each
// manifest names (children, config, layers; referrers under their subject). Thread-safe: one lock inside, never held
// across I/O nor across a callback: `tag_allowed` is called on copied names and may ask links_reach() again. Bounded:
// the least recently used repositories are forgotten first. A question walks at most LINKS_STEPS_MAX edges and asks
// about at most LINKS_CANDIDATES_MAX tags, the nearest and then the newest first, however large or tangled what an
// upstream made is; whoever asks many questions for one request hands one count of steps through all of them. Past
// these bounds the answer is that there is no link.

#pragma once

#include "mirrors/oci/digest.h"
#include "mirrors/oci/document.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    LINKS_REPOSITORIES_MAX = 10000,
    LINKS_EDGES_MAX =
        1000000, ///< Over all repositories; a repository over LINKS_REPOSITORY_EDGES_MAX is forgotten and starts anew.
    LINKS_REPOSITORY_EDGES_MAX = 200000,
    LINKS_DEPTH_MAX = 6,              ///< Tag to layer is 3 (tag, index, manifest, layer).
    LINKS_STEPS_MAX = 20000,          ///< Of one question.
    LINKS_REQUEST_STEPS_MAX = 200000, ///< Of all questions for one request: what `steps` should begin with.
    LINKS_CANDIDATES_MAX = 1000,
    LINKS_UNREAD_MAX = 64, ///< Children read before one digest is refused for want of a link.
    LINKS_SKIP_S = 60
};

struct links;

/// Every link that is new (not those of links_load()) is told to `learned`, outside the lock, on the thread that taught
/// it; NULL: to nobody.
typedef void (*links_learned_fn)(void *ctx, const char *registry, const char *repository, const char *parent,
                                 const char *child, unsigned flags);

struct links *links_new(links_learned_fn learned, void *ctx);
void links_free(struct links *l);

/// What `learned` is told of a link, and links_load() wants back; 0: a tag led to it.
enum links_flag {
    LINKS_DOCUMENT = 1,  ///< The parent's document names the child.
    LINKS_LISTED = 2,    ///< And as a manifest of an index.
    LINKS_SUBJECT = 4,   ///< The child is a referrer of the parent...
    LINKS_READ_CHILD = 8 ///< ... as its own document says.
};

/// One link that was kept, in the order in which they were learned. Does not count as news.
void links_load(struct links *l, const char *registry, const char *repository, const char *parent, const char *child,
                unsigned flags);

/// All that was kept of a repository has been loaded, until the repository is forgotten for want of room.
void links_loaded(struct links *l, const char *registry, const char *repository);
bool links_is_loaded(struct links *l, const char *registry, const char *repository);

/// A tag of this repository led to `digest` now. Earlier digests of the tag stay linked.
void links_tag(struct links *l, const char *registry, const char *repository, const char *tag, const char *digest);

/// A manifest or index was read: remember what it names. `digest` is under its subject, too.
void links_document(struct links *l, const char *registry, const char *repository, const char *digest,
                    const struct document *d);

/// `child` was listed as a referrer of `subject`.
void links_referrer(struct links *l, const char *registry, const char *repository, const char *subject,
                    const char *child);

/// Whoever asks, and for whom.
struct links_asker {
    /// May `tag` be pulled now, given that it led to the digest `led_to`?
    bool (*tag_allowed)(void *ctx, const char *tag, const char *led_to);
    void *ctx;
    const char *const *denied; ///< Digests that nothing is reached through, sorted by strcmp().
    size_t denied_count;
    size_t *steps; ///< What is left of them over several questions: counted down. NULL: each question has its own.
};

/// Is `digest` reachable from a tag for which `tag_allowed` says yes, by no way through a denied digest? With `tag`
/// (TAG_MAX + 1 bytes, may be NULL) the tag found. Every edge, every tag asked about and the question itself is a step.
bool links_reach(struct links *l, const char *registry, const char *repository, const char *digest,
                 const struct links_asker *asker, char *tag);

struct links_unread {
    char digest[LINKS_UNREAD_MAX][DIGEST_TEXT_MAX + 1];
    size_t count;
};

/// Children of indexes that allowed tags led to whose own documents were not yet read. Left out are denied digests,
/// what stands under them, and a digest that links_skip() marked.
void links_unread(struct links *l, const char *registry, const char *repository, const struct links_asker *asker,
                  struct links_unread *out);

/// The child could not be read (or was refused): do not propose it for LINKS_SKIP_S, or until a tag leads to its index
/// anew.
void links_skip(struct links *l, const char *registry, const char *repository, const char *digest);
