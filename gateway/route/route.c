// SPDX-License-Identifier: Apache-2.0
//
// The forms of a request, told apart; see route.h. Pure: everything is decided from the arguments.
//
// Which registry is meant, in this order:
//   1. `ns=` and a registry before /v2 each name it; both together must agree.
//   2. With one of these, a first path component that is canonically the same registry is dropped; one that is another
//      configured registry is an error; any other is part of the repository and must be valid there ("my.org" is,
//      "host:5000" is not).
//   3. Without them, a first component that looks like a registry is the registry. It is never part of the default
//      registry's repository.
//   4. Else it is the listener's default registry.
//   0. Before all of these: on a registry's own name it is that registry, the path is its own, and `ns=` must agree.
//
// Error codes: NAME_INVALID for paths, `ns`, registries and repositories; DIGEST_INVALID for a reference with a colon
// that is no sha256 or sha512 digest; MANIFEST_INVALID for a reference that is neither tag nor digest (the
// specification has no code for tags); UNSUPPORTED for unknown paths (404), methods (405) and query values (400);
// DENIED for _catalog (403).

#include "gateway/route/route.h"

#include "gateway/route/decode.h"

#include <stdio.h>
#include <string.h>

enum { QUOTED_MAX = 200 }; // Bytes of a stranger's text in a sentence.

static const char code_name[] = "NAME_INVALID";
static const char code_digest[] = "DIGEST_INVALID";
static const char code_manifest[] = "MANIFEST_INVALID";
static const char code_unsupported[] = "UNSUPPORTED";
static const char code_denied[] = "DENIED";

/// Part of the decoded path.
struct piece {
    const char *s;
    size_t len;
};

/// What a path after /v2/ asks for.
struct operation {
    enum route_kind kind;
    struct piece name;      ///< What stands before it: repository, perhaps with a registry.
    struct piece reference; ///< Tag or digest; upload session.
};

static int shown(struct piece p) {
    return p.len > QUOTED_MAX ? QUOTED_MAX : (int)p.len;
}

static bool piece_is(struct piece p, const char *text) {
    return p.len == strlen(text) && memcmp(p.s, text, p.len) == 0;
}

/// Cut the first component off; `*rest` is what follows its slash.
static struct piece piece_first(struct piece p, struct piece *rest) {
    const char *slash = p.len ? memchr(p.s, '/', p.len) : NULL;
    struct piece first = {p.s, slash ? (size_t)(slash - p.s) : p.len};
    *rest = slash ? (struct piece){slash + 1, p.len - first.len - 1} : (struct piece){p.s + p.len, 0};
    return first;
}

/// Cut the last component off; `*before` is what precedes its slash.
static struct piece piece_last(struct piece p, struct piece *before) {
    const char *slash = p.len ? memrchr(p.s, '/', p.len) : NULL;
    if (!slash) {
        *before = (struct piece){p.s, 0};
        return p;
    }
    *before = (struct piece){p.s, (size_t)(slash - p.s)};
    return (struct piece){slash + 1, p.len - before->len - 1};
}

/// The sentence is set already.
static bool refused(struct route *out, int status, const char *code) {
    out->kind = ROUTE_REFUSED;
    out->pull = out->push = out->erase = false;
    out->status = status;
    out->code = code;
    return false;
}

static void copy(char *out, struct piece p) {
    memcpy(out, p.s, p.len);
    out[p.len] = '\0';
}

// --- methods ---

static enum route_method method_parse(const char *s, size_t len) {
    static const struct {
        const char *text;
        enum route_method method;
    } methods[] = {{"GET", METHOD_GET},   {"HEAD", METHOD_HEAD},   {"PUT", METHOD_PUT},
                   {"POST", METHOD_POST}, {"PATCH", METHOD_PATCH}, {"DELETE", METHOD_DELETE}};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (piece_is((struct piece){s, len}, methods[i].text))
            return methods[i].method;
    return METHOD_OTHER;
}

static const char *method_allow(enum route_kind kind) {
    switch (kind) {
    case ROUTE_MANIFEST:
        return "GET, HEAD, PUT, DELETE";
    case ROUTE_BLOB:
        return "GET, HEAD, DELETE";
    case ROUTE_UPLOAD:
        return "GET, HEAD, POST, PUT, PATCH, DELETE";
    case ROUTE_TOKEN:
        return "GET, POST";
    case ROUTE_REPORT:
        return "POST";
    case ROUTE_SITE:
    case ROUTE_BASE:
    case ROUTE_TAGS:
    case ROUTE_REFERRERS:
    case ROUTE_CONNECT:
    case ROUTE_HEALTH:
    case ROUTE_REFUSED:
        break;
    }
    return "GET, HEAD";
}

/// Set pull, push or erase; false when this kind of path has no such method.
static bool method_apply(enum route_kind kind, struct route *out) {
    bool reads = out->method == METHOD_GET || out->method == METHOD_HEAD;
    if (kind == ROUTE_UPLOAD)
        out->push = out->method != METHOD_OTHER;
    else if (reads)
        out->pull = true;
    else if (kind == ROUTE_MANIFEST && out->method == METHOD_PUT)
        out->push = true;
    else if ((kind == ROUTE_MANIFEST || kind == ROUTE_BLOB) && out->method == METHOD_DELETE)
        out->erase = true;
    if (out->pull || out->push || out->erase)
        return true;
    out->allow = method_allow(kind);
    err_set(&out->err, "this method is not possible here; possible are %s", out->allow);
    return refused(out, 405, code_unsupported);
}

// --- paths ---

static bool unknown_path(struct route *out) {
    err_set(&out->err, "there is nothing at this path; a registry's paths begin with /v2/");
    return refused(out, 404, code_unsupported);
}

/// Cut the path at /v2: what stood before it (a registry, or nothing) and what follows.
static bool cut_at_v2(struct piece path, struct piece *outer, struct piece *rest, struct route *out) {
    struct piece after;
    struct piece first = piece_first(path, &after);
    *outer = (struct piece){path.s, 0};
    *rest = after;
    if (piece_is(first, "v2"))
        return true;
    if (!name_looks_like_registry(first.s, first.len) || !piece_is(piece_first(after, rest), "v2"))
        return unknown_path(out);
    *outer = first;
    return true;
}

/// Read the operation from the path's end: a repository's components may be called "manifests" or "blobs" too.
static bool operation_parse(struct piece rest, bool trailing_slash, struct operation *op, struct route *out) {
    struct piece before_last;
    struct piece before_second;
    struct piece before_third;
    struct piece last = piece_last(rest, &before_last);
    struct piece second = piece_last(before_last, &before_second);
    struct piece third = piece_last(before_second, &before_third);
    *op = (struct operation){.kind = ROUTE_REFUSED, .name = before_second, .reference = last};

    if (piece_is(last, "_catalog")) {
        err_set(&out->err, "the catalogue of a registry may not be listed");
        return refused(out, 403, code_denied);
    }
    if (piece_is(third, "blobs") && piece_is(second, "uploads") && before_third.len > 0) {
        op->kind = ROUTE_UPLOAD;
        op->name = before_third;
    } else if (piece_is(second, "manifests"))
        op->kind = ROUTE_MANIFEST;
    else if (piece_is(second, "blobs"))
        op->kind = piece_is(last, "uploads") ? ROUTE_UPLOAD : ROUTE_BLOB;
    else if (piece_is(second, "tags") && piece_is(last, "list"))
        op->kind = ROUTE_TAGS;
    else if (piece_is(second, "referrers"))
        op->kind = ROUTE_REFERRERS;

    if (op->kind == ROUTE_REFUSED || op->name.len == 0)
        return unknown_path(out);
    if (trailing_slash && !(op->kind == ROUTE_UPLOAD && piece_is(second, "blobs"))) {
        err_set(&out->err, "the path ends with '/'");
        return refused(out, 400, code_name);
    }
    return true;
}

// --- which registry ---

static bool ns_parse(const struct param *ns, struct route *out) {
    if (ns->count == 0)
        return true;
    struct err why = {""};
    if (ns->count > 1) {
        err_set(&out->err, "ns= is given %u times", ns->count);
        return refused(out, 400, code_name);
    }
    if (ns->len == 0) {
        err_set(&out->err, "ns= is empty; it must name a registry");
        return refused(out, 400, code_name);
    }
    if (ns->len > REGISTRY_MAX || memchr(ns->value, '\0', ns->len) ||
        !name_registry(ns->value, ns->len, out->registry, &why)) {
        out->registry[0] = '\0';
        err_set(&out->err, "ns= does not name a registry%s%s", why.text[0] ? ": " : "", why.text);
        return refused(out, 400, code_name);
    }
    copy(out->ns, (struct piece){ns->value, ns->len});
    out->ns_given = true;
    out->form = FORM_NS;
    return true;
}

/// The canonical registry of a path component that looks like one.
static bool component_registry(struct piece component, char *registry, struct route *out) {
    struct err why = {""};
    if (component.len <= REGISTRY_MAX && name_registry(component.s, component.len, registry, &why))
        return true;
    registry[0] = '\0';
    err_set(&out->err, "'%.*s' in the path does not name a registry%s%s", shown(component), component.s,
            why.text[0] ? ": " : "", why.text);
    return refused(out, 400, code_name);
}

static bool disagree(const char *other, const char *where, struct route *out) {
    err_set(&out->err, "%s names the registry %s, the path names %s", where, out->registry, other);
    return refused(out, 400, code_name);
}

static bool disagree_with_name(const struct route_context *ctx, struct route *out) {
    err_set(&out->err, "ns= names the registry %s, the server's name is %s's", out->registry, ctx->taken_over);
    return refused(out, 400, code_name);
}

/// Rule 1: `ns` was read already; take what stands before /v2.
static bool outer_parse(struct piece outer, struct route *out) {
    if (outer.len == 0)
        return true;
    char registry[REGISTRY_MAX + 1];
    if (!component_registry(outer, registry, out))
        return false;
    if (out->ns_given && strcmp(registry, out->registry) != 0)
        return disagree(registry, "ns=", out);
    memcpy(out->registry, registry, strlen(registry) + 1);
    copy(out->outer, outer);
    out->form = FORM_OUTER_PREFIX;
    return true;
}

static void use_default(const struct route_context *ctx, struct route *out) {
    out->form = FORM_ROOT;
    out->at_default = true;
    snprintf(out->registry, sizeof out->registry, "%s", ctx->default_registry);
}

/// Rule 2: `*name` loses a first component that repeats the registry.
static bool drop_repeated(const struct route_context *ctx, struct piece *name, struct route *out) {
    struct piece rest;
    struct piece first = piece_first(*name, &rest);
    char registry[REGISTRY_MAX + 1];
    if (!name_looks_like_registry(first.s, first.len) || first.len > REGISTRY_MAX ||
        !name_registry(first.s, first.len, registry, NULL))
        return true;
    if (strcmp(registry, out->registry) == 0) {
        *name = rest;
        if (out->form == FORM_NS)
            out->form = FORM_PREFIX;
        return true;
    }
    if (ctx->configured && ctx->configured(ctx->ctx, registry))
        return disagree(registry, out->ns_given ? "ns=" : "the path before /v2", out);
    return true;
}

/// Rules 3 and 4.
static bool take_prefix(const struct route_context *ctx, struct piece *name, struct route *out) {
    struct piece rest;
    struct piece first = piece_first(*name, &rest);
    if (!name_looks_like_registry(first.s, first.len)) {
        use_default(ctx, out);
        return true;
    }
    if (!component_registry(first, out->registry, out))
        return false;
    out->form = FORM_PREFIX;
    *name = rest;
    return true;
}

static bool repository_parse(struct piece name, struct route *out) {
    if (name.len == 0) {
        err_set(&out->err, "the path names the registry %s, but no repository in it", out->registry);
        return refused(out, 400, code_name);
    }
    if (name.len > REPOSITORY_MAX) {
        err_set(&out->err, "the repository's name has %zu bytes; at most %d are possible", name.len, REPOSITORY_MAX);
        return refused(out, 400, code_name);
    }
    if (!name_repository_valid(name.s, name.len)) {
        err_set(&out->err, "'%.*s' is no valid repository name (lower-case letters, digits, and . _ - between them)",
                shown(name), name.s);
        return refused(out, 400, code_name);
    }
    if (!name_repository(out->registry, name.s, name.len, out->repository)) {
        out->repository[0] = '\0';
        err_set(&out->err, "the repository's name is too long");
        return refused(out, 400, code_name);
    }
    return true;
}

static bool name_parse_path(const struct route_context *ctx, struct piece name, struct route *out) {
    if (name.len >= sizeof out->asked) {
        err_set(&out->err, "the name in the path has %zu bytes; at most %zu are possible", name.len,
                sizeof out->asked - 1);
        return refused(out, 400, code_name);
    }
    struct piece repository = name;
    bool named = out->form == FORM_NS || out->form == FORM_OUTER_PREFIX;
    if (out->form != FORM_NAME && !(named ? drop_repeated(ctx, &repository, out) : take_prefix(ctx, &repository, out)))
        return false;
    copy(out->asked, name);
    return repository_parse(repository, out);
}

// --- references and parameters ---

static bool digest_parse(struct piece p, struct route *out) {
    enum digest_algorithm algorithm;
    switch (digest_check(p.s, p.len, &algorithm)) {
    case DIGEST_OK:
        copy(out->digest, p);
        return true;
    case DIGEST_UNSUPPORTED:
        err_set(&out->err, "'%.*s' has an unsupported algorithm; sha256 and sha512 are known", shown(p), p.s);
        break;
    case DIGEST_MALFORMED:
        err_set(&out->err, "'%.*s' is no digest", shown(p), p.s);
        break;
    }
    return refused(out, 400, code_digest);
}

static bool reference_parse(struct piece p, struct route *out) {
    if (memchr(p.s, ':', p.len))
        return digest_parse(p, out);
    if (!name_tag_valid(p.s, p.len)) {
        err_set(&out->err, "'%.*s' is neither a tag nor a digest", shown(p), p.s);
        return refused(out, 400, code_manifest);
    }
    copy(out->tag, p);
    return true;
}

/// Copy a parameter's value of at most `max` bytes; absent is "".
static bool param_text(const struct param *p, const char *name, size_t max, char *out_text, struct route *out) {
    if (p->count > 1) {
        err_set(&out->err, "%s= is given %u times", name, p->count);
        return refused(out, 400, code_unsupported);
    }
    if (p->len > max) {
        err_set(&out->err, "%s= has %zu bytes; at most %zu are possible", name, p->len, max);
        return refused(out, 400, code_unsupported);
    }
    for (size_t i = 0; i < p->len; i++) {
        if ((unsigned char)p->value[i] <= 0x20 || (unsigned char)p->value[i] >= 0x7f) {
            err_set(&out->err, "%s= holds byte 0x%02x", name, (unsigned)(unsigned char)p->value[i]);
            return refused(out, 400, code_unsupported);
        }
    }
    if (p->count == 1)
        copy(out_text, (struct piece){p->value, p->len});
    return true;
}

static bool page_size_parse(const struct param *p, struct route *out) {
    char text[32] = "";
    if (!param_text(p, "n", sizeof text - 1, text, out))
        return false;
    if (p->count == 0)
        return true;
    if (text[0] == '\0' || text[strspn(text, "0123456789")] != '\0') {
        err_set(&out->err, "n= must be a number");
        return refused(out, 400, code_unsupported);
    }
    long n = 0;
    for (const char *c = text; *c; c++) {
        n = n * 10 + (*c - '0');
        if (n > ROUTE_LIST_N_MAX)
            n = ROUTE_LIST_N_MAX;
    }
    out->n = n;
    return true;
}

static bool details_parse(const struct operation *op, const struct param *params, struct route *out) {
    switch (op->kind) {
    case ROUTE_MANIFEST:
        return reference_parse(op->reference, out);
    case ROUTE_BLOB:
        return digest_parse(op->reference, out);
    case ROUTE_TAGS:
        return page_size_parse(&params[PARAM_N], out) &&
               param_text(&params[PARAM_LAST], "last", ROUTE_LIST_LAST_MAX, out->last, out);
    case ROUTE_REFERRERS:
        return digest_parse(op->reference, out) && param_text(&params[PARAM_ARTIFACT_TYPE], "artifactType",
                                                              ROUTE_ARTIFACT_TYPE_MAX, out->artifact_type, out);
    case ROUTE_REFUSED:
    case ROUTE_BASE:
    case ROUTE_UPLOAD:
    case ROUTE_TOKEN:
    case ROUTE_SITE:
    case ROUTE_REPORT:
    case ROUTE_CONNECT:
    case ROUTE_HEALTH:
        break;
    }
    return true;
}

// --- a registry's own name ---

static bool only_here(const struct route_context *ctx, const char *what, struct route *out) {
    err_set(&out->err, "under %s's name this gateway serves nothing but %s", ctx->taken_over, what);
    return refused(out, 403, code_denied);
}

/// Rule 0. `outer` stands before /v2.
static bool take_over(const struct route_context *ctx, struct piece outer, struct route *out) {
    if (outer.len > 0)
        return only_here(ctx, "/v2/", out);
    if (out->ns_given && strcmp(out->registry, ctx->taken_over) != 0)
        return disagree_with_name(ctx, out);
    snprintf(out->registry, sizeof out->registry, "%s", ctx->taken_over);
    out->form = FORM_NAME;
    return true;
}

static bool method_refused(enum route_kind kind, struct route *out) {
    out->allow = method_allow(kind);
    err_set(&out->err, "this method is not possible here; possible are %s", out->allow);
    return refused(out, 405, code_unsupported);
}

// --- the gateway's own ---

/// Under its own name only: a registry that is taken over has no such pages.
static bool own_parse(const struct route_context *ctx, const struct request_target *decoded, struct route *out) {
    struct piece path = {decoded->path, decoded->path_len};
    bool site = piece_is(path, "pullgate/v1/site"), report = piece_is(path, "pullgate/v1/report");
    if (ctx->taken_over || (!site && !report))
        return false;
    bool reads = out->method == METHOD_GET || out->method == METHOD_HEAD;
    out->form = FORM_OWN;
    if (site ? reads : out->method == METHOD_POST)
        out->kind = site ? ROUTE_SITE : ROUTE_REPORT;
    else
        method_refused(site ? ROUTE_SITE : ROUTE_REPORT, out);
    return true;
}

// --- tokens ---

static bool is_token(const struct route_context *ctx, const struct request_target *decoded) {
    return ctx->tokens && piece_is((struct piece){decoded->path, decoded->path_len}, "token");
}

static void token_parse(const struct route_context *ctx, struct route *out) {
    if (ctx->taken_over)
        out->form = FORM_NAME;
    if (out->method == METHOD_GET || out->method == METHOD_POST) {
        out->kind = ROUTE_TOKEN;
        return;
    }
    method_refused(ROUTE_TOKEN, out);
}

// --- all together ---

static void base_parse(const struct route_context *ctx, struct route *out) {
    if (!method_apply(ROUTE_BASE, out))
        return;
    if (out->form == FORM_ROOT)
        use_default(ctx, out);
    out->kind = ROUTE_BASE;
}

void route_parse(const struct route_context *ctx, const char *method, size_t method_len, const char *target,
                 size_t target_len, struct route *out) {
    memset(out, 0, sizeof *out);
    out->form = FORM_ROOT;
    out->n = -1;
    out->method = method_parse(method, method_len);

    struct request_target decoded;
    if (!request_target_decode(target, target_len, &decoded, &out->err)) {
        refused(out, 400, code_name);
        return;
    }
    if (is_token(ctx, &decoded)) {
        token_parse(ctx, out);
        return;
    }
    if (own_parse(ctx, &decoded, out))
        return;
    struct piece outer;
    struct piece rest;
    bool found = cut_at_v2((struct piece){decoded.path, decoded.path_len}, &outer, &rest, out);
    if (ctx->taken_over && (!found || ctx->realm)) {
        out->form = FORM_NAME;
        only_here(ctx, ctx->realm ? "this gateway's own tokens" : "/v2/", out);
        return;
    }
    if (!found || !ns_parse(&decoded.params[PARAM_NS], out) ||
        !(ctx->taken_over ? take_over(ctx, outer, out) : outer_parse(outer, out)))
        return;
    if (rest.len == 0) {
        base_parse(ctx, out);
        return;
    }
    struct operation op;
    if (!operation_parse(rest, decoded.trailing_slash, &op, out) || !method_apply(op.kind, out))
        return;
    if (name_parse_path(ctx, op.name, out) && details_parse(&op, decoded.params, out))
        out->kind = op.kind;
}
