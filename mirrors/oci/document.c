// SPDX-License-Identifier: Apache-2.0
//
// Manifests and indexes: types, shape and descriptors. The question which keys a client could read otherwise is
// answered in keys.c. The order of the checks is the order of the log's verdicts: what the document is before what it
// holds. Pure; any thread.

#include "mirrors/oci/document.h"

#include "mirrors/base/json.h"
#include "mirrors/base/mem.h"
#include "mirrors/oci/keys.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct {
    const char *name;
    enum document_kind kind;
} known_types[] = {
    {"application/vnd.oci.image.index.v1+json", DOCUMENT_INDEX},
    {"application/vnd.oci.image.manifest.v1+json", DOCUMENT_MANIFEST},
    {"application/vnd.docker.distribution.manifest.list.v2+json", DOCUMENT_INDEX},
    {"application/vnd.docker.distribution.manifest.v2+json", DOCUMENT_MANIFEST},
};
enum { KNOWN_TYPES = sizeof known_types / sizeof *known_types };

static const char *const schema1_types[] = {
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/vnd.docker.distribution.manifest.v1+jws",
};
enum { SCHEMA1_TYPES = sizeof schema1_types / sizeof *schema1_types };

const char document_accept[] = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
                               "application/vnd.docker.distribution.manifest.list.v2+json, "
                               "application/vnd.docker.distribution.manifest.v2+json";

static const char *const words[] = {
    [DOCUMENT_OK] = "ok",           [DOCUMENT_MALFORMED] = "malformed", [DOCUMENT_TOO_LARGE] = "too_large",
    [DOCUMENT_SCHEMA1] = "schema1", [DOCUMENT_AMBIGUOUS] = "ambiguous", [DOCUMENT_MEDIA_TYPE] = "media_type",
    [DOCUMENT_URLS] = "urls",       [DOCUMENT_DIGEST] = "digest",
};

const char *document_verdict_word(enum document_verdict v) {
    return words[v];
}

/// What is needed while one document is judged.
struct judge {
    struct document *out;
    struct err *err;
    bool (*url_permitted)(void *ctx, const char *url);
    void *ctx;
    size_t seen; ///< Descriptors, also those that are kept out of `out`.
};

static enum document_verdict refuse(const struct judge *j, enum document_verdict v, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static enum document_verdict refuse(const struct judge *j, enum document_verdict v, const char *format, ...) {
    char text[ERR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    err_set(j->err, "%s", text);
    return v;
}

// --- media types ---

static bool same_type(const char *known, const char *s, size_t len) {
    return strlen(known) == len && strncasecmp(known, s, len) == 0;
}

/// The index in known_types; KNOWN_TYPES when it is none of them.
static size_t find_type(const char *s, size_t len) {
    size_t i = 0;
    while (i < KNOWN_TYPES && !same_type(known_types[i].name, s, len))
        i++;
    return i;
}

static bool is_schema1_type(const char *s, size_t len) {
    for (size_t i = 0; i < SCHEMA1_TYPES; i++)
        if (same_type(schema1_types[i], s, len))
            return true;
    return false;
}

bool document_type_known(const char *media_type, size_t len, enum document_kind *kind) {
    size_t i = find_type(media_type, len);
    if (i == KNOWN_TYPES)
        return false;
    if (kind)
        *kind = known_types[i].kind;
    return true;
}

/// A Content-Type without its parameters and the spaces around it.
struct type_slice {
    const char *s;
    size_t len;
};

static struct type_slice bare_type(const char *content_type) {
    struct type_slice t = {.s = content_type ? content_type : ""};
    t.s += strspn(t.s, " \t");
    t.len = strcspn(t.s, ";");
    while (t.len > 0 && (t.s[t.len - 1] == ' ' || t.s[t.len - 1] == '\t'))
        t.len--;
    return t;
}

static bool says_nothing(struct type_slice t) {
    return t.len == 0 || same_type("application/json", t.s, t.len);
}

/// Strangers' words in a sentence: the start of them, printable ASCII only.
struct shown {
    char text[80];
};

static struct shown show(const char *s, size_t len) {
    struct shown out;
    size_t n = len < sizeof out.text - 1 ? len : sizeof out.text - 1;
    for (size_t i = 0; i < n; i++)
        out.text[i] = s[i] > 0x20 && s[i] < 0x7f ? s[i] : '?';
    out.text[n] = '\0';
    return out;
}

/// The document's own `mediaType`; absent, null and "" are the same to Go.
static enum document_verdict own_type(const struct judge *j, const struct json *root, struct type_slice *out) {
    const struct json *member = json_get(root, "mediaType");
    *out = (struct type_slice){.s = ""};
    if (!member || member->type == JSON_NULL)
        return DOCUMENT_OK;
    if (member->type != JSON_STRING)
        return refuse(j, DOCUMENT_MALFORMED, "its manifest's mediaType is %s", json_type_words(member->type));
    *out = (struct type_slice){.s = member->string, .len = member->string_len};
    return DOCUMENT_OK;
}

static bool has(const struct json *root, const char *key) {
    return json_get(root, key) != NULL;
}

/// The version that the document claims; 0 when it claims none.
static enum document_verdict schema_version(const struct judge *j, const struct json *root, int64_t *out) {
    const struct json *version = json_get(root, "schemaVersion");
    *out = 0;
    if (!version)
        return DOCUMENT_OK;
    if (version->type != JSON_NUMBER || !version->is_integer)
        return refuse(j, DOCUMENT_MALFORMED, "its manifest's schemaVersion is no whole number");
    *out = version->integer;
    return DOCUMENT_OK;
}

static enum document_verdict check_schema(const struct judge *j, const struct json *root, struct type_slice own) {
    int64_t version;
    enum document_verdict v = schema_version(j, root, &version);
    if (version == 1 || has(root, "fsLayers") || is_schema1_type(own.s, own.len))
        return refuse(j, DOCUMENT_SCHEMA1,
                      "its manifest is Docker schema 1, which has no digests to verify: push it again with a current "
                      "client");
    if (v != DOCUMENT_OK)
        return v;
    if (version != 0 && version != 2)
        return refuse(j, DOCUMENT_MALFORMED, "its manifest's schemaVersion is %lld", (long long)version);
    return DOCUMENT_OK;
}

/// Settle which of the known types this is; Content-Type and `mediaType` must not contradict each other.
static enum document_verdict settle_type(const struct judge *j, struct type_slice sent, struct type_slice own) {
    if (!says_nothing(sent) && find_type(sent.s, sent.len) == KNOWN_TYPES)
        return refuse(j, DOCUMENT_MEDIA_TYPE, "it was sent as \"%s\", which is no manifest type",
                      show(sent.s, sent.len).text);
    if (own.len > 0 && find_type(own.s, own.len) == KNOWN_TYPES)
        return refuse(j, DOCUMENT_MEDIA_TYPE, "its mediaType \"%s\" is no manifest type", show(own.s, own.len).text);
    size_t by_header = find_type(sent.s, sent.len), by_document = find_type(own.s, own.len);
    if (by_header == KNOWN_TYPES && by_document == KNOWN_TYPES)
        return refuse(j, DOCUMENT_MEDIA_TYPE, "neither its Content-Type nor its mediaType says which manifest it is");
    if (by_header != KNOWN_TYPES && by_document != KNOWN_TYPES && by_header != by_document)
        return refuse(j, DOCUMENT_MEDIA_TYPE, "it was sent as \"%s\", but its mediaType is \"%s\"",
                      known_types[by_header].name, known_types[by_document].name);
    size_t type = by_header != KNOWN_TYPES ? by_header : by_document;
    j->out->kind = known_types[type].kind;
    snprintf(j->out->media_type, sizeof j->out->media_type, "%s", known_types[type].name);
    return DOCUMENT_OK;
}

// --- descriptors ---

/// The host of a URL, or the start of whatever stands there; never user info, path or query.
static void host_of(const char *url, char *out, size_t size) {
    const char *scheme_end = strstr(url, "://");
    const char *s = scheme_end ? scheme_end + 3 : url;
    size_t len = strcspn(s, "/?#\\");
    const char *at = memrchr(s, '@', len);
    if (at) {
        len -= (size_t)(at + 1 - s);
        s = at + 1;
    }
    size_t n = len < size - 1 ? len : size - 1;
    for (size_t i = 0; i < n; i++)
        out[i] = s[i] > 0x20 && s[i] < 0x7f ? s[i] : '?';
    out[n] = '\0';
}

static enum document_verdict check_urls(const struct judge *j, const struct json *descriptor) {
    const struct json *urls = json_get(descriptor, "urls");
    if (!urls || urls->type == JSON_NULL)
        return DOCUMENT_OK;
    if (urls->type != JSON_ARRAY)
        return refuse(j, DOCUMENT_MALFORMED, "a descriptor's urls is %s", json_type_words(urls->type));
    for (const struct json *url = urls->child; url; url = url->next)
        if (url->type != JSON_STRING)
            return refuse(j, DOCUMENT_MALFORMED, "an entry of a descriptor's urls is %s", json_type_words(url->type));
    for (const struct json *url = urls->child; url; url = url->next) {
        if (j->url_permitted && j->url_permitted(j->ctx, url->string))
            continue;
        host_of(url->string, j->out->urls_host, sizeof j->out->urls_host);
        return refuse(j, DOCUMENT_URLS,
                      "a part of it is to be fetched from \"%s\", past this gateway: see \"external_urls\"",
                      j->out->urls_host);
    }
    return DOCUMENT_OK;
}

static enum document_verdict read_size(const struct judge *j, const struct json *descriptor, uint64_t *out) {
    const struct json *size = json_get(descriptor, "size");
    if (!size || size->type != JSON_NUMBER || !size->is_integer || size->integer < 0)
        return refuse(j, DOCUMENT_MALFORMED, "a descriptor in its manifest has no size");
    *out = (uint64_t)size->integer;
    return DOCUMENT_OK;
}

static enum document_verdict read_media_type(const struct judge *j, const struct json *descriptor, char *out) {
    const struct json *type = json_get(descriptor, "mediaType");
    out[0] = '\0';
    if (!type || type->type == JSON_NULL)
        return DOCUMENT_OK;
    if (type->type != JSON_STRING || type->string_len > MEDIA_TYPE_MAX)
        return refuse(j, DOCUMENT_MALFORMED, "a descriptor's mediaType is no string of at most %d bytes",
                      MEDIA_TYPE_MAX);
    memcpy(out, type->string, type->string_len + 1);
    return DOCUMENT_OK;
}

static enum document_verdict read_digest(const struct judge *j, const struct json *descriptor, char *out) {
    const struct json *digest = json_get(descriptor, "digest");
    enum digest_algorithm algorithm;
    out[0] = '\0';
    if (!digest || digest->type != JSON_STRING)
        return refuse(j, DOCUMENT_MALFORMED, "a descriptor in its manifest has no digest");
    enum digest_result result = digest_check(digest->string, digest->string_len, &algorithm);
    if (result == DIGEST_MALFORMED)
        return refuse(j, DOCUMENT_MALFORMED, "\"%s\" in its manifest is no digest",
                      show(digest->string, digest->string_len).text);
    if (result == DIGEST_OK)
        memcpy(out, digest->string, digest->string_len + 1);
    return DOCUMENT_OK;
}

static void keep(struct document *out, const struct descriptor *d) {
    if (d->digest[0] == '\0')
        return; // An algorithm that nobody here can verify; blobs by it are refused when asked for.
    if (d->role == ROLE_SUBJECT) {
        memcpy(out->subject, d->digest, sizeof out->subject);
        return;
    }
    if (out->count % 64 == 0)
        out->descriptors = mem_resize(out->descriptors, out->count + 64, sizeof *out->descriptors);
    out->descriptors[out->count++] = *d;
}

static enum document_verdict check_keys(const struct judge *j, const struct json *object, enum keys_of what) {
    struct keys_finding found;
    enum keys_verdict v = keys_judge(object, what, &found);
    if (v == KEYS_OK)
        return DOCUMENT_OK;
    if (v == KEYS_TOO_MANY)
        return refuse(j, DOCUMENT_MALFORMED, "an object in its manifest has more than %d keys", KEYS_MAX);
    const char *key = found.key->key;
    return refuse(j, DOCUMENT_AMBIGUOUS, "its manifest has the key \"%s\", which some clients read as \"%s\"",
                  show(key, found.key->key_len).text, show(found.reads_as, strlen(found.reads_as)).text);
}

static enum document_verdict read_descriptor(struct judge *j, const struct json *object, enum descriptor_role role) {
    struct descriptor d = {.role = role};
    enum document_verdict v;
    if (object->type != JSON_OBJECT)
        return refuse(j, DOCUMENT_MALFORMED, "a descriptor in its manifest is %s", json_type_words(object->type));
    if (++j->seen > DOCUMENT_DESCRIPTORS_MAX)
        return refuse(j, DOCUMENT_MALFORMED, "its manifest has more than %d descriptors", DOCUMENT_DESCRIPTORS_MAX);
    if ((v = check_keys(j, object, KEYS_OF_DESCRIPTOR)) != DOCUMENT_OK ||
        (v = read_digest(j, object, d.digest)) != DOCUMENT_OK || (v = read_size(j, object, &d.size)) != DOCUMENT_OK ||
        (v = read_media_type(j, object, d.media_type)) != DOCUMENT_OK || (v = check_urls(j, object)) != DOCUMENT_OK)
        return v;
    keep(j->out, &d);
    return DOCUMENT_OK;
}

/// Absent and null are an empty list: Go writes an empty slice as null.
static enum document_verdict read_list(struct judge *j, const struct json *root, const char *key,
                                       enum descriptor_role role) {
    const struct json *list = json_get(root, key);
    enum document_verdict v = DOCUMENT_OK;
    if (!list || list->type == JSON_NULL)
        return DOCUMENT_OK;
    if (list->type != JSON_ARRAY)
        return refuse(j, DOCUMENT_MALFORMED, "its manifest's %s is %s", key, json_type_words(list->type));
    for (const struct json *item = list->child; item && v == DOCUMENT_OK; item = item->next)
        v = read_descriptor(j, item, role);
    return v;
}

static enum document_verdict read_one(struct judge *j, const struct json *root, const char *key,
                                      enum descriptor_role role) {
    const struct json *object = json_get(root, key);
    if (!object || (object->type == JSON_NULL && role == ROLE_SUBJECT))
        return DOCUMENT_OK;
    return read_descriptor(j, object, role);
}

static enum document_verdict read_descriptors(struct judge *j, const struct json *root) {
    enum document_verdict v;
    if ((v = read_one(j, root, "config", ROLE_CONFIG)) != DOCUMENT_OK ||
        (v = read_list(j, root, "layers", ROLE_LAYER)) != DOCUMENT_OK ||
        (v = read_list(j, root, "manifests", ROLE_MANIFEST)) != DOCUMENT_OK ||
        (v = read_list(j, root, "blobs", ROLE_BLOB)) != DOCUMENT_OK)
        return v;
    return read_one(j, root, "subject", ROLE_SUBJECT);
}

// --- the whole ---

static enum document_verdict check_one_meaning(const struct judge *j, const struct json *root) {
    static const char *const manifest_keys[] = {"layers", "config", "fsLayers", "blobs"};
    if (!has(root, "manifests"))
        return DOCUMENT_OK;
    for (size_t i = 0; i < sizeof manifest_keys / sizeof *manifest_keys; i++)
        if (has(root, manifest_keys[i]))
            return refuse(j, DOCUMENT_AMBIGUOUS,
                          "it has both \"manifests\" and \"%s\", so that clients may read it as an index or as a "
                          "manifest",
                          manifest_keys[i]);
    return DOCUMENT_OK;
}

static enum document_verdict check_shape(const struct judge *j, const struct json *root) {
    const char *type = j->out->media_type;
    if (j->out->kind == DOCUMENT_INDEX && !has(root, "manifests"))
        return refuse(j, DOCUMENT_MEDIA_TYPE, "it is said to be %s, but has no \"manifests\"", type);
    if (j->out->kind == DOCUMENT_MANIFEST && (!has(root, "config") || !has(root, "layers")))
        return refuse(j, DOCUMENT_MEDIA_TYPE, "it is said to be %s, but has no \"%s\"", type,
                      has(root, "config") ? "layers" : "config");
    return DOCUMENT_OK;
}

static enum document_verdict judge_root(struct judge *j, const struct json *root, struct type_slice sent) {
    struct type_slice own;
    enum document_verdict v;
    if (root->type != JSON_OBJECT)
        return refuse(j, DOCUMENT_MALFORMED, "its manifest is %s, not an object", json_type_words(root->type));
    if ((v = check_keys(j, root, KEYS_OF_DOCUMENT)) != DOCUMENT_OK || (v = check_one_meaning(j, root)) != DOCUMENT_OK ||
        (v = own_type(j, root, &own)) != DOCUMENT_OK || (v = check_schema(j, root, own)) != DOCUMENT_OK ||
        (v = settle_type(j, sent, own)) != DOCUMENT_OK || (v = check_shape(j, root)) != DOCUMENT_OK)
        return v;
    return read_descriptors(j, root);
}

static enum document_verdict judge_bytes(struct judge *j, const char *data, size_t len, struct type_slice sent) {
    struct err parse_err = {0};
    if (len > DOCUMENT_SIZE_MAX)
        return refuse(j, DOCUMENT_TOO_LARGE, "its manifest is larger than %d bytes", DOCUMENT_SIZE_MAX);
    if (is_schema1_type(sent.s, sent.len))
        return refuse(j, DOCUMENT_SCHEMA1, "its manifest is Docker schema 1 (%s): push it again with a current client",
                      show(sent.s, sent.len).text);
    struct json *root = json_parse(data, len, JSON_STRICT, &parse_err);
    if (!root)
        return refuse(j, DOCUMENT_MALFORMED, "its manifest cannot be read: %s", parse_err.text);
    enum document_verdict v = judge_root(j, root, sent);
    json_free(root);
    return v;
}

enum document_verdict document_judge(const char *data, size_t len, const char *content_type,
                                     bool (*url_permitted)(void *ctx, const char *url), void *ctx, struct document *out,
                                     struct err *err) {
    struct judge j = {.out = out, .err = err, .url_permitted = url_permitted, .ctx = ctx};
    memset(out, 0, sizeof *out);
    enum document_verdict v = judge_bytes(&j, data, len, bare_type(content_type));
    if (v != DOCUMENT_OK)
        document_deinit(out);
    return v;
}

void document_deinit(struct document *d) {
    free(d->descriptors);
    d->descriptors = NULL;
    d->count = 0;
}
