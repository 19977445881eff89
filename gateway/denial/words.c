// SPDX-License-Identifier: Apache-2.0
//
// The words of a denial: reasons, templates, the one line that its reader sees. Pure; any thread.

#include "gateway/denial/denial.h"
#include "gateway/denial/text.h"
#include "gateway/policy/canary.h"
#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    VALUE_MAX = IMAGE_TEXT_MAX,    ///< Bytes of a placeholder's value that are looked at.
    OWN_MAX = DENIAL_SENTENCE_MAX, ///< Bytes of the gateway's own words that are looked at.
    IMAGE_SHOWN_MAX = 200,         ///< Of an image in the gateway's own words: the why follows it.
    OWN_LEAST = 12,                ///< Less than this of the gateway's words says nothing: left out.
    CHARACTER_MAX = 4              ///< Bytes of one character of UTF-8.
};

const char *denial_reason_word(enum denial_reason reason) {
    switch (reason) {
    case REASON_NONE:
        return "none";
    case REASON_REGISTRY_NOT_LISTED:
        return "registry_not_listed";
    case REASON_RULE:
        return "rule";
    case REASON_NO_RULE:
        return "no_rule";
    case REASON_NO_LINK:
        return "no_link";
    case REASON_ACTION:
        return "action";
    case REASON_REDIRECT_HOST:
        return "redirect_host";
    case REASON_REDIRECT:
        return "redirect";
    case REASON_REALM_HOST:
        return "realm_host";
    case REASON_PRIVATE_ADDRESS:
        return "private_address";
    case REASON_URLS:
        return "urls";
    case REASON_SCHEMA1:
        return "schema1";
    case REASON_AMBIGUOUS:
        return "ambiguous";
    case REASON_MEDIA_TYPE:
        return "media_type";
    case REASON_TOO_LARGE:
        return "too_large";
    case REASON_MALFORMED:
        return "malformed";
    case REASON_DIGEST:
        return "digest";
    case REASON_UPSTREAM_AUTH:
        return "upstream_auth";
    case REASON_UPSTREAM_ERROR:
        return "upstream_error";
    case REASON_UPSTREAM_TIMEOUT:
        return "upstream_timeout";
    case REASON_UPSTREAM_LIMIT:
        return "upstream_limit";
    case REASON_NOT_FOUND:
        return "not_found";
    case REASON_REQUEST:
        return "request";
    case REASON_CONNECT:
        return "connect";
    case REASON_UNIDENTIFIED:
        return "unidentified";
    case REASON_CREDENTIAL:
        return "credential";
    case REASON_CANARY:
        return "canary";
    case REASON_LOOP:
        return "loop";
    }
    return "unknown";
}

// --- templates ---

enum placeholder { PLACE_IMAGE, PLACE_REGISTRY, PLACE_RULE, PLACE_WHO, PLACE_ID, PLACE_COUNT };

static const char *const place_texts[PLACE_COUNT] = {"{image}", "{registry}", "{rule}", "{who}", "{id}"};

/// The placeholder at `s`; PLACE_COUNT: there is none.
static enum placeholder place_at(const char *s) {
    int i = 0;
    while (i < PLACE_COUNT && strncmp(s, place_texts[i], strlen(place_texts[i])) != 0)
        i++;
    return (enum placeholder)i;
}

static bool refuse_brace(const char *s, struct err *err) {
    if (*s == '}')
        return err_set(err, "a '}' without its '{'; known are {image} {registry} {rule} {who} {id}");
    const char *end = strchr(s, '}');
    int len = end && end - s < 40 ? (int)(end - s) + 1 : 1;
    return err_set(err, "'%.*s' is no placeholder; known are {image} {registry} {rule} {who} {id}", len, s);
}

bool denial_template_valid(const char *text, struct err *err) {
    size_t literal = 0;
    bool blank = true;
    for (const char *s = text; *s;) {
        enum placeholder place = place_at(s);
        if (place < PLACE_COUNT) {
            s += strlen(place_texts[place]);
            blank = false;
            continue;
        }
        if (*s == '{' || *s == '}')
            return refuse_brace(s, err);
        size_t n = text_char(s, strlen(s));
        if (n == 0)
            return err_set(err, "must be one line of printable UTF-8 text; byte %zu is not", (size_t)(s - text) + 1);
        blank = blank && *s == ' ';
        literal += n;
        s += n;
    }
    if (blank)
        return err_set(err, "must not be empty");
    if (literal > DENIAL_SENTENCE_MAX)
        return err_set(err, "has %zu bytes without its placeholders; at most %d are shown", literal,
                       DENIAL_SENTENCE_MAX);
    return true;
}

// --- expansion ---

/// The placeholders' values, printable.
struct values {
    char text[PLACE_COUNT][VALUE_MAX + 1];
};

static void value_set(struct values *v, enum placeholder place, const char *s) {
    text_copy(s ? s : "", v->text[place], sizeof v->text[place], NULL);
}

static void values_init(struct values *v, const struct denial_words *words) {
    value_set(v, PLACE_IMAGE, words->image);
    value_set(v, PLACE_REGISTRY, words->registry);
    value_set(v, PLACE_RULE, words->rule);
    value_set(v, PLACE_WHO, words->who && words->who[0] ? words->who : "anonymous");
    value_set(v, PLACE_ID, words->id);
}

/// What the template says itself, and how often it uses each value.
static size_t template_measure(const char *text, size_t uses[PLACE_COUNT]) {
    size_t literal = 0;
    memset(uses, 0, PLACE_COUNT * sizeof *uses);
    while (*text) {
        enum placeholder place = place_at(text);
        if (place < PLACE_COUNT) {
            uses[place]++;
            text += strlen(place_texts[place]);
        } else {
            literal++;
            text++;
        }
    }
    return literal;
}

/// The expanded length if no value were longer than `cap`.
static size_t expanded_length(size_t literal, const size_t uses[PLACE_COUNT], const struct values *v, size_t cap) {
    size_t total = literal;
    for (int i = 0; i < PLACE_COUNT; i++) {
        size_t len = strlen(v->text[i]);
        total += uses[i] * (len < cap ? len : cap);
    }
    return total;
}

/// Shorten the longest values until the expansion fits, so that the site's words stay whole.
static void values_fit(struct values *v, const char *text) {
    size_t uses[PLACE_COUNT];
    size_t literal = template_measure(text, uses);
    size_t cap = VALUE_MAX;
    while (cap > 0 && expanded_length(literal, uses, v, cap) > DENIAL_SENTENCE_MAX)
        cap--;
    for (int i = 0; i < PLACE_COUNT; i++)
        text_shorten(v->text[i], cap);
}

/// Expand a valid template into at most DENIAL_SENTENCE_MAX bytes; gives the length.
static size_t expand(const char *text, const struct denial_words *words, char out[DENIAL_SENTENCE_MAX + 1]) {
    struct values v;
    struct buf b;
    values_init(&v, words);
    values_fit(&v, text);
    buf_init(&b, strlen(text) + PLACE_COUNT * (VALUE_MAX + 1) + DENIAL_SENTENCE_MAX);
    while (*text) {
        enum placeholder place = place_at(text);
        if (place < PLACE_COUNT) {
            buf_adds(&b, v.text[place]);
            text += strlen(place_texts[place]);
        } else
            buf_add(&b, text++, 1);
    }
    size_t len = text_copy(b.data ? b.data : "", out, DENIAL_SENTENCE_MAX + 1, NULL);
    buf_deinit(&b);
    return len;
}

void denial_sentence(const struct denial_words *words, char out[DENIAL_SENTENCE_MAX + 1]) {
    if (words->rule_message && words->rule_message[0]) {
        expand(words->rule_message, words, out);
        return;
    }
    char site[DENIAL_SENTENCE_MAX + 1] = "";
    size_t site_len = words->site_message && words->site_message[0] ? expand(words->site_message, words, site) : 0;
    size_t room = DENIAL_SENTENCE_MAX - (site_len ? site_len + 2 : 0);
    if (site_len >= DENIAL_SENTENCE_MAX - OWN_LEAST)
        room = 0;

    char own[OWN_MAX + CHARACTER_MAX + 1]; // A character over the limit, so that a cut is noticed below.
    text_copy(words->own ? words->own : "", own, sizeof own, NULL);
    size_t own_len = text_shorten(own, room);
    memcpy(out, own, own_len);
    if (own_len > 0 && site_len > 0) {
        if (strchr(".!?", own[own_len - 1]) == NULL)
            out[own_len++] = '.';
        out[own_len++] = ' ';
    }
    memcpy(out + own_len, site, site_len + 1);
}

// --- the gateway's own words ---

static bool is_set(const char *s) {
    return s && s[0];
}

static const char *action_participle(enum action action) {
    switch (action) {
    case ACTION_PUSH:
        return "pushed";
    case ACTION_DELETE:
        return "deleted";
    case ACTION_LIST:
        return "listed";
    case ACTION_PULL:
    case ACTION_ALL:
        break;
    }
    return "pulled";
}

static const char *action_sentence(enum action action) {
    switch (action) {
    case ACTION_PUSH:
        return "pushes are not permitted";
    case ACTION_DELETE:
        return "deletions are not permitted";
    case ACTION_LIST:
        return "the catalogue of a registry may not be listed";
    case ACTION_PULL:
    case ACTION_ALL:
        break;
    }
    return "this is not permitted";
}

/// The why where no detail was given.
static const char *reason_sentence(enum denial_reason reason) {
    switch (reason) {
    case REASON_NO_RULE:
        return "no rule allows it";
    case REASON_NO_LINK:
        return "pull it by an allowed tag first, or allow this digest";
    case REASON_REDIRECT_HOST:
        return "its registry redirects to a host that is not in \"redirect_hosts\"";
    case REASON_REALM_HOST:
        return "its registry's token server is not in \"realm_hosts\"";
    case REASON_REDIRECT:
        return "its registry redirects in a way that is not followed";
    case REASON_PRIVATE_ADDRESS:
        return "its registry has an address that is not permitted: see \"private_addresses\"";
    case REASON_URLS:
        return "it carries urls, which clients fetch past the gateway: see \"external_urls\"";
    case REASON_SCHEMA1:
        return "it is a schema 1 manifest, which names its content in a way that cannot be verified";
    case REASON_AMBIGUOUS:
        return "its manifest can be read in two ways";
    case REASON_MEDIA_TYPE:
        return "its manifest is not of the type that it is said to be";
    case REASON_TOO_LARGE:
        return "its manifest is too large";
    case REASON_MALFORMED:
        return "its manifest cannot be read";
    case REASON_DIGEST:
        return "its content is not what its digest says";
    case REASON_UPSTREAM_AUTH:
        return "its registry refused the request";
    case REASON_UPSTREAM_ERROR:
        return "its registry failed";
    case REASON_UPSTREAM_TIMEOUT:
        return "its registry did not answer in time";
    case REASON_UPSTREAM_LIMIT:
        return "its registry answers no more requests for now";
    case REASON_NOT_FOUND:
        return "its registry does not have it";
    case REASON_REQUEST:
        return "the request is malformed";
    case REASON_CONNECT:
        return "this gateway is no way to it";
    case REASON_UNIDENTIFIED:
        return "this gateway needs to know who asks";
    case REASON_CREDENTIAL:
        return "the credential is not good";
    case REASON_CANARY:
        return "it is the canary, which every pullgate denies: this one does as it should";
    case REASON_LOOP:
        return "the gateway would ask itself";
    case REASON_NONE:
    case REASON_REGISTRY_NOT_LISTED:
    case REASON_RULE:
    case REASON_ACTION:
        break;
    }
    return "it is not permitted";
}

/// Why: fresh memory.
static char *why_words(enum denial_reason reason, const struct denial_subject *subject) {
    if (reason == REASON_REGISTRY_NOT_LISTED && is_set(subject->registry) && is_unlisted_stand_in(subject->registry))
        return mem_strdup("its registry is not one of this site's registries");
    if (reason == REASON_REGISTRY_NOT_LISTED)
        return mem_printf("%s is not one of this site's registries: add it to \"registries\"",
                          is_set(subject->registry) ? subject->registry : "its registry");
    if (reason == REASON_RULE)
        return is_set(subject->rule) ? mem_printf("denied by rule %s", subject->rule) : mem_strdup("denied by a rule");
    if (reason == REASON_ACTION)
        return mem_strdup(action_sentence(subject->action));
    if (reason == REASON_NO_RULE && subject->others)
        return is_set(subject->who) ? mem_printf("no rule allows it to %s", subject->who)
                                    : mem_strdup("no rule allows it to somebody who has not said who they are");
    if (reason != REASON_NO_RULE && reason != REASON_NO_LINK && is_set(subject->detail))
        return mem_strdup(subject->detail);
    return mem_strdup(reason_sentence(reason));
}

/// An overlong image loses its middle: registry and tag are what its reader looks for.
static void image_shorten(char *image) {
    size_t len = strlen(image);
    if (len <= IMAGE_SHOWN_MAX)
        return;
    text_shorten(image, IMAGE_SHOWN_MAX / 2);
    // Names are ASCII, but for what a caller may have put in: a character that is cut becomes '?' in the line.
    memmove(image + strlen(image), image + len - IMAGE_SHOWN_MAX / 2, IMAGE_SHOWN_MAX / 2 + 1);
}

/// The image, but for a registry whose name only stands for others.
static const char *shown_image(const struct denial_subject *subject) {
    const char *image = subject->image ? subject->image : "";
    const char *slash = strchr(image, '/');
    bool stands_in = is_set(subject->registry) && is_unlisted_stand_in(subject->registry);
    return stands_in && slash != NULL ? slash + 1 : image;
}

void denial_own_words(enum denial_reason reason, const struct denial_subject *subject, char *out, size_t size) {
    char image[VALUE_MAX + 1];
    if (size == 0)
        return;
    text_copy(shown_image(subject), image, sizeof image, NULL);
    image_shorten(image);
    char *why = why_words(reason, subject);
    // The catalogue has no image: the why says everything.
    char *all =
        image[0] ? mem_printf("%s may not be %s: %s", image, action_participle(subject->action), why) : mem_strdup(why);
    size_t room = strlen(all) + 1;
    char *line = mem_alloc(room);
    text_copy(all, line, room, NULL);
    text_shorten(line, size - 1);
    memcpy(out, line, strlen(line) + 1);
    free(line);
    free(all);
    free(why);
}

// --- who is asking ---

static bool begins_with(const char *s, size_t len, const char *prefix) {
    size_t n = strlen(prefix);
    return len >= n && strncasecmp(s, prefix, n) == 0;
}

enum client_kind denial_client(const char *user_agent, size_t len, bool has_api_version_header) {
    static const char *const containers_image[] = {"containers/", "buildah/", "skopeo/",
                                                   "podman/",     "libpod/",  "cri-o/"};
    static const char containerd[] = "containerd-client";
    static const char *const resolvers[] = {"containerd/", "buildkit/"};
    if (!user_agent)
        len = 0;
    if (begins_with(user_agent, len, "docker/"))
        return memmem(user_agent, len, containerd, sizeof containerd - 1) ? CLIENT_CONTAINERD : CLIENT_DOCKER;
    for (size_t i = 0; i < sizeof resolvers / sizeof *resolvers; i++)
        if (begins_with(user_agent, len, resolvers[i]))
            return CLIENT_CONTAINERD;
    for (size_t i = 0; i < sizeof containers_image / sizeof *containers_image; i++)
        if (begins_with(user_agent, len, containers_image[i]))
            return CLIENT_CONTAINERS_IMAGE;
    return has_api_version_header ? CLIENT_CONTAINERS_IMAGE : CLIENT_OTHER;
}
