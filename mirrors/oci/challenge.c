// SPDX-License-Identifier: Apache-2.0
//
// The parser of WWW-Authenticate.
//
// A comma separates both parameters and challenges, so a name is a parameter when '=' follows it and a scheme when
// not. Registries also leave commas out and put spaces around '='; both are accepted, since what a realm may be is
// judged later, by target_judge(). Pure; any thread.

#include "mirrors/oci/challenge.h"

#include <string.h>
#include <strings.h>

enum { PARAMETERS_MAX = 16 };

struct slice {
    const char *s;
    size_t len;
};

struct cursor {
    const char *at;
    const char *end;
};

/// The challenge that is being read, and what is needed to judge it.
struct draft {
    struct challenge c;
    bool open; ///< A scheme was seen.
    bool bad;  ///< To be dropped when it ends.
    struct slice names[PARAMETERS_MAX];
    size_t count;
};

static bool is_token_char(char c) {
    static const char others[] = "!#$%&'*+-.^_`|~";
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr(others, c));
}

static bool is_token68_char(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr("-._~+/", c));
}

static bool is_space(char c) {
    return c == ' ' || c == '\t';
}

static bool is_control(char c) {
    return ((unsigned char)c < 0x20 && c != '\t') || c == 0x7f;
}

static bool at_end(const struct cursor *in) {
    return in->at == in->end;
}

static void skip_spaces(struct cursor *in) {
    while (!at_end(in) && is_space(*in->at))
        in->at++;
}

static void skip_separators(struct cursor *in) {
    while (!at_end(in) && (is_space(*in->at) || *in->at == ','))
        in->at++;
}

static struct slice read_token(struct cursor *in) {
    struct slice t = {.s = in->at};
    while (!at_end(in) && is_token_char(*in->at))
        in->at++;
    t.len = (size_t)(in->at - t.s);
    return t;
}

static bool equals(struct slice a, const char *word) {
    return a.len == strlen(word) && strncasecmp(a.s, word, a.len) == 0;
}

/// Skip the one opaque value that some schemes carry ("Negotiate abc=="); leaves the cursor alone when there is none.
static void skip_token68(struct cursor *in) {
    struct cursor ahead = *in;
    while (!at_end(&ahead) && is_token68_char(*ahead.at))
        ahead.at++;
    if (ahead.at == in->at)
        return;
    while (!at_end(&ahead) && *ahead.at == '=')
        ahead.at++;
    skip_spaces(&ahead);
    if (at_end(&ahead) || *ahead.at == ',')
        *in = ahead;
}

/// A value's bytes go into `out` (may be NULL) as far as they fit; `len` counts all of them.
struct sink {
    char *out;
    size_t room;
    size_t len;
};

static void put(struct sink *sink, char c) {
    if (sink->out && sink->len < sink->room)
        sink->out[sink->len] = c;
    sink->len++;
}

static bool read_quoted(struct cursor *in, struct sink *sink) {
    in->at++;
    while (!at_end(in) && *in->at != '"') {
        if (*in->at == '\\')
            in->at++;
        if (at_end(in) || is_control(*in->at))
            return false;
        put(sink, *in->at++);
    }
    if (at_end(in))
        return false;
    in->at++;
    return true;
}

/// Unquoted values hold more than RFC 9110's tokens in the wild: URLs, scopes with colons.
static bool read_unquoted(struct cursor *in, struct sink *sink) {
    while (!at_end(in) && !is_space(*in->at) && *in->at != ',') {
        if (is_control(*in->at) || *in->at == '"')
            return false;
        put(sink, *in->at++);
    }
    return true;
}

/// Reads a value and sees that something separates it from what follows.
static bool read_value(struct cursor *in, struct sink *sink) {
    bool quoted = !at_end(in) && *in->at == '"';
    if (quoted ? !read_quoted(in, sink) : !read_unquoted(in, sink))
        return false;
    return at_end(in) || is_space(*in->at) || *in->at == ',';
}

/// Where this parameter belongs; other parameters are read and forgotten.
static struct sink sink_of(struct challenge *c, struct slice name) {
    if (equals(name, "realm"))
        return (struct sink){.out = c->realm, .room = CHALLENGE_REALM_MAX};
    if (equals(name, "service"))
        return (struct sink){.out = c->service, .room = CHALLENGE_VALUE_MAX};
    if (equals(name, "scope"))
        return (struct sink){.out = c->scope, .room = CHALLENGE_VALUE_MAX};
    if (equals(name, "error"))
        return (struct sink){.out = c->error, .room = sizeof c->error - 1};
    return (struct sink){.out = NULL, .room = CHALLENGE_REALM_MAX};
}

/// False when the name was there before, or when there are too many to tell.
static bool remember_name(struct draft *d, struct slice name) {
    for (size_t i = 0; i < d->count; i++)
        if (d->names[i].len == name.len && strncasecmp(d->names[i].s, name.s, name.len) == 0)
            return false;
    if (d->count == PARAMETERS_MAX)
        return false;
    d->names[d->count++] = name;
    return true;
}

static bool read_parameter(struct cursor *in, struct draft *d, struct slice name) {
    bool fresh = remember_name(d, name);
    // A second value of the same name must not overwrite the first; the challenge is dropped anyway.
    struct sink sink = fresh ? sink_of(&d->c, name) : (struct sink){.room = CHALLENGE_REALM_MAX};
    if (!read_value(in, &sink))
        return false;
    if (!fresh || sink.len > sink.room)
        d->bad = true;
    return true;
}

static void close_draft(struct draft *d, struct challenge_list *list) {
    if (d->open && !d->bad && list->count < CHALLENGES_MAX)
        list->item[list->count++] = d->c;
    d->open = false;
}

static void open_draft(struct draft *d, struct slice scheme) {
    memset(d, 0, sizeof *d);
    d->open = true;
    d->c.scheme = equals(scheme, "bearer")  ? CHALLENGE_BEARER
                  : equals(scheme, "basic") ? CHALLENGE_BASIC
                                            : CHALLENGE_OTHER;
}

/// One scheme or one parameter. False: what stands here cannot be parsed.
static bool read_element(struct cursor *in, struct draft *d, struct challenge_list *list) {
    struct slice name = read_token(in);
    if (name.len == 0)
        return false;
    struct cursor after = *in;
    skip_spaces(&after);
    if (!at_end(&after) && *after.at == '=') {
        after.at++;
        skip_spaces(&after);
        *in = after;
        if (!d->open)
            return false;
        bool ok = read_parameter(in, d, name);
        d->bad = d->bad || !ok; // Half a challenge would ask for the wrong token.
        return ok;
    }
    if (after.at == in->at && !at_end(in) && *in->at != ',')
        return false;
    close_draft(d, list);
    open_draft(d, name);
    *in = after;
    skip_token68(in);
    return true;
}

void challenge_parse(const char *value, size_t len, struct challenge_list *list) {
    if (len == 0)
        return;
    struct cursor in = {.at = value, .end = value + len};
    struct draft draft = {0};
    skip_separators(&in);
    while (!at_end(&in) && read_element(&in, &draft, list))
        skip_separators(&in);
    close_draft(&draft, list);
}

const struct challenge *challenge_choose(const struct challenge_list *list) {
    const struct challenge *basic = NULL;
    for (size_t i = 0; i < list->count; i++) {
        const struct challenge *c = &list->item[i];
        if (c->scheme == CHALLENGE_BEARER && c->realm[0] != '\0')
            return c;
        if (c->scheme == CHALLENGE_BASIC && !basic)
            basic = c;
    }
    return basic;
}
