// SPDX-License-Identifier: Apache-2.0
//
// How denials are told: the answer for each kind of client. Their sentences are in test_denial_text.c.

#include "gateway/denial/denial.h"
#include "mirrors/base/json.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEX64 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define D256 "sha256:" HEX64

static const char oci_manifest[] = "application/vnd.oci.image.manifest.v1+json";
static const char sentence[] = "docker.io/library/x:1 is not allowed (rule P-17). Ask platform@example.com";
static const int64_t start = 1800000000;

static struct denials *table_new(uint8_t first) {
    uint8_t secret[32] = {first, 2, 3};
    return denials_new(secret);
}

static void parse(const char *method, const char *target, struct route *out) {
    struct route_context ctx = {.default_registry = "docker.io"};
    route_parse(&ctx, method, strlen(method), target, strlen(target), out);
    cr_assert_neq(out->kind, ROUTE_REFUSED, "%s: %s", target, out->err.text);
}

static void answer_for(struct denials *d, const char *method, const char *target, enum client_kind client,
                       struct denial_answer *out) {
    struct route r;
    parse(method, target, &r);
    denials_answer(d, DENIALS_FINAL, &r, client, REASON_RULE, sentence, "id-1", start, out);
}

static bool again_at(struct denials *d, const char *method, const char *target, int64_t now, struct denial_answer *out,
                     char id[REQUEST_ID_MAX + 1]) {
    struct route r;
    parse(method, target, &r);
    enum denial_reason reason = REASON_NONE;
    bool found = denials_again(d, &r, now, out, id, &reason);
    cr_expect_eq(reason, found ? REASON_RULE : REASON_NONE, "%s: the first denial's reason", target);
    return found;
}

static bool again(struct denials *d, const char *method, const char *target, struct denial_answer *out) {
    char id[REQUEST_ID_MAX + 1];
    bool found = again_at(d, method, target, start + 1, out, id);
    if (found)
        cr_expect_str_eq(id, "id-1", "%s: the first answer's id", target);
    return found;
}

static struct json *json_of(const char *body, size_t len, const char *why) {
    struct err err = {""};
    struct json *root = json_parse(body, len, JSON_STRICT, &err);
    cr_assert_not_null(root, "%s: %s in %.*s", why, err.text, (int)len, body);
    return root;
}

// --- what an answer is ---

static void expect_error(const struct denial_answer *a, int status, const char *message, const char *why) {
    cr_expect_eq(a->status, status, "%s: status %d", why, a->status);
    cr_expect_str_eq(a->content_type, "application/json", "%s", why);
    cr_expect_str_eq(a->docker_content_digest, "", "%s: an error has no digest", why);
    cr_expect_eq(a->content_length, a->body_len, "%s: length", why);
    cr_assert_not_null(a->body, "%s: body", why);
    struct json *root = json_of(a->body, a->body_len, why);
    const struct json *errors = json_get(root, "errors");
    cr_assert(errors && errors->type == JSON_ARRAY && errors->count == 1, "%s: one error", why);
    cr_expect_str_eq(json_get_string(errors->child, "code"), "DENIED", "%s", why);
    cr_expect_str_eq(json_get_string(errors->child, "message"), message, "%s", why);
    json_free(root);
}

static void expect_plain(const struct denial_answer *a, const char *why) {
    expect_error(a, 403, sentence, why);
    cr_expect_null(a->location, "%s: no Location", why);
}

/// A 200 to HEAD with a made digest and no content.
static void expect_pinned(const struct denial_answer *a, const char *why) {
    cr_expect_eq(a->status, 200, "%s: status %d", why, a->status);
    cr_expect_str_eq(a->content_type, oci_manifest, "%s", why);
    cr_expect_eq(digest_check(a->docker_content_digest, strlen(a->docker_content_digest), &(enum digest_algorithm){0}),
                 DIGEST_OK, "%s: '%s'", why, a->docker_content_digest);
    cr_expect(a->content_length > 400 && a->content_length < 2000, "%s: a manifest's length, not %zu", why,
              a->content_length);
    cr_expect_null(a->body, "%s: no body", why);
    cr_expect_null(a->location, "%s: no Location", why);
}

static void expect_wrong_length(const struct denial_answer *a, const char *digest, const char *why) {
    cr_expect_eq(a->status, 200, "%s: status %d", why, a->status);
    cr_expect_str_eq(a->content_type, oci_manifest, "%s", why);
    cr_expect_str_eq(a->docker_content_digest, digest, "%s", why);
    cr_expect_eq(a->content_length, 2, "%s: the length that ends the pull", why);
    cr_expect_null(a->body, "%s: no body", why);
}

static void expect_descriptor(const struct json *d, const char *media_type, const char *why) {
    cr_assert_not_null(d, "%s", why);
    if (media_type)
        cr_expect_str_eq(json_get_string(d, "mediaType"), media_type, "%s", why);
    const char *digest = json_get_string(d, "digest");
    cr_assert_not_null(digest, "%s: digest", why);
    cr_expect_eq(digest_check(digest, strlen(digest), &(enum digest_algorithm){0}), DIGEST_OK, "%s: %s", why, digest);
    const struct json *size = json_get(d, "size");
    cr_expect(size && size->is_integer && size->integer >= 0, "%s: size", why);
    cr_expect_null(json_get(d, "urls"), "%s: no urls", why);
}

/// A valid OCI image manifest whose config type is `words`; gives the blob that it names.
static void expect_notice(const struct denial_answer *a, const char *words, char blob[DIGEST_TEXT_MAX + 1],
                          const char *why) {
    cr_expect_eq(a->status, 200, "%s: status %d", why, a->status);
    cr_expect_str_eq(a->content_type, oci_manifest, "%s", why);
    cr_expect_null(a->location, "%s: no Location", why);
    cr_assert_not_null(a->body, "%s: body", why);
    cr_expect_eq(a->content_length, a->body_len, "%s: length", why);
    char digest[DIGEST_TEXT_MAX + 1];
    digest_of(DIGEST_SHA256, a->body, a->body_len, digest);
    cr_expect_str_eq(a->docker_content_digest, digest, "%s: the digest is the content's", why);

    struct json *root = json_of(a->body, a->body_len, why);
    const struct json *version = json_get(root, "schemaVersion");
    cr_expect(version && version->integer == 2, "%s: schemaVersion", why);
    cr_expect_str_eq(json_get_string(root, "mediaType"), oci_manifest, "%s", why);
    cr_expect_str_eq(json_get_string(root, "artifactType"), "application/vnd.pullgate.denial.v1+json", "%s", why);
    expect_descriptor(json_get(root, "config"), words, why);
    const struct json *layers = json_get(root, "layers");
    cr_assert(layers && layers->type == JSON_ARRAY && layers->count == 1, "%s: one layer", why);
    expect_descriptor(layers->child, NULL, why);
    const char *config_digest = json_get_string(json_get(root, "config"), "digest");
    cr_expect_str_eq(json_get_string(layers->child, "digest"), config_digest, "%s: one blob", why);
    snprintf(blob, DIGEST_TEXT_MAX + 1, "%s", config_digest);
    json_free(root);
}

static void expect_unparsable(const struct denial_answer *a, const char *why) {
    expect_error(a, 307, sentence, why);
    cr_assert_not_null(a->location, "%s: Location", why);
    char expected[DENIAL_SENTENCE_MAX + 100];
    snprintf(expected, sizeof expected, "https://denied.invalid/%%zz %s (no such process)", sentence);
    cr_expect_str_eq(a->location, expected, "%s", why);
}

// --- who gets what ---

enum shape { PLAIN, PINNED, WRONG_LENGTH, NOTICE, UNPARSABLE };

static const struct {
    const char *why, *method, *target;
    enum client_kind client;
    enum shape shape;
} dialect_rows[] = {
    {"containerd by tag: HEAD", "HEAD", "/v2/library/x/manifests/1?ns=docker.io", CLIENT_OTHER, PINNED},
    {"containerd by tag: GET", "GET", "/v2/library/x/manifests/1?ns=docker.io", CLIENT_OTHER, PLAIN},
    {"containerd by digest: HEAD", "HEAD", "/v2/library/x/manifests/" D256 "?ns=docker.io", CLIENT_OTHER, WRONG_LENGTH},
    {"containerd by digest: GET", "GET", "/v2/library/x/manifests/" D256 "?ns=docker.io", CLIENT_OTHER, PLAIN},
    {"sha512 by digest: HEAD", "HEAD", "/v2/library/x/manifests/sha512:" HEX64 HEX64 "?ns=docker.io", CLIENT_OTHER,
     WRONG_LENGTH},
    {"an unlisted registry with ns", "HEAD", "/v2/x/manifests/1?ns=evil.example", CLIENT_OTHER, PINNED},
    {"ns beside a prefix", "HEAD", "/v2/ghcr.io/x/manifests/1?ns=ghcr.io", CLIENT_OTHER, PINNED},
    {"ns decides before the client: docker", "HEAD", "/v2/x/manifests/1?ns=docker.io", CLIENT_DOCKER, PINNED},
    {"ns decides before the client: podman", "GET", "/v2/x/manifests/1?ns=docker.io", CLIENT_CONTAINERS_IMAGE, PLAIN},
    {"ns: a blob", "GET", "/v2/x/blobs/" D256 "?ns=docker.io", CLIENT_OTHER, PLAIN},
    {"ns: a blob's HEAD", "HEAD", "/v2/x/blobs/" D256 "?ns=docker.io", CLIENT_OTHER, PLAIN},
    {"ns: tags", "GET", "/v2/x/tags/list?ns=docker.io", CLIENT_OTHER, PLAIN},
    {"ns: referrers", "GET", "/v2/x/referrers/" D256 "?ns=docker.io", CLIENT_OTHER, PLAIN},
    {"ns: a push", "PUT", "/v2/x/manifests/1?ns=docker.io", CLIENT_OTHER, PLAIN},
    {"ns: a deletion", "DELETE", "/v2/x/manifests/1?ns=docker.io", CLIENT_OTHER, PLAIN},

    {"dockerd's mirror by tag: HEAD", "HEAD", "/v2/library/x/manifests/1", CLIENT_DOCKER, NOTICE},
    {"dockerd's mirror by tag: GET", "GET", "/v2/library/x/manifests/1", CLIENT_DOCKER, NOTICE},
    {"dockerd's mirror by digest: GET", "GET", "/v2/library/x/manifests/" D256, CLIENT_DOCKER, UNPARSABLE},
    {"dockerd's mirror by digest: HEAD", "HEAD", "/v2/library/x/manifests/" D256, CLIENT_DOCKER, UNPARSABLE},
    {"dockerd's mirror with a path, by tag", "GET", "/ghcr.io/v2/x/manifests/1", CLIENT_DOCKER, NOTICE},
    {"dockerd's mirror with a path, by digest", "GET", "/ghcr.io/v2/x/manifests/" D256, CLIENT_DOCKER, UNPARSABLE},
    {"docker pull gw/ghcr.io/x by tag", "HEAD", "/v2/ghcr.io/x/manifests/1", CLIENT_DOCKER, PLAIN},
    {"docker pull gw/ghcr.io/x by digest", "GET", "/v2/ghcr.io/x/manifests/" D256, CLIENT_DOCKER, PLAIN},
    {"dockerd: a blob", "GET", "/v2/x/blobs/" D256, CLIENT_DOCKER, PLAIN},
    {"dockerd: a push", "PUT", "/v2/x/manifests/1", CLIENT_DOCKER, PLAIN},

    {"podman's mirror by tag: GET", "GET", "/v2/library/x/manifests/1", CLIENT_CONTAINERS_IMAGE, NOTICE},
    {"podman's mirror by tag: HEAD", "HEAD", "/v2/library/x/manifests/1", CLIENT_CONTAINERS_IMAGE, NOTICE},
    {"podman's mirror by digest", "GET", "/v2/library/x/manifests/" D256, CLIENT_CONTAINERS_IMAGE, NOTICE},
    {"podman's mirror with a prefix, by tag", "GET", "/v2/ghcr.io/x/manifests/1", CLIENT_CONTAINERS_IMAGE, NOTICE},
    {"podman's mirror with a prefix, by digest", "GET", "/v2/ghcr.io/x/manifests/" D256, CLIENT_CONTAINERS_IMAGE,
     NOTICE},
    {"podman, remapped: a registry that is not listed", "GET", "/v2/unlisted.pullgate.invalid/x/manifests/1",
     CLIENT_CONTAINERS_IMAGE, PLAIN},
    {"podman before /v2", "GET", "/ghcr.io/v2/x/manifests/1", CLIENT_CONTAINERS_IMAGE, NOTICE},
    {"podman: a blob", "GET", "/v2/x/blobs/" D256, CLIENT_CONTAINERS_IMAGE, PLAIN},
    {"podman: tags", "GET", "/v2/x/tags/list", CLIENT_CONTAINERS_IMAGE, PLAIN},
    {"podman: an upload", "POST", "/v2/x/blobs/uploads/", CLIENT_CONTAINERS_IMAGE, PLAIN},

    {"curl at the root", "GET", "/v2/library/x/manifests/1", CLIENT_OTHER, PLAIN},
    {"curl with a prefix", "HEAD", "/v2/ghcr.io/x/manifests/1", CLIENT_OTHER, PLAIN},
    {"curl by digest", "GET", "/v2/x/manifests/" D256, CLIENT_OTHER, PLAIN},
};

Test(denial, each_dialect) {
    for (size_t i = 0; i < sizeof dialect_rows / sizeof *dialect_rows; i++) {
        struct denials *d = table_new(1);
        struct denial_answer a;
        char blob[DIGEST_TEXT_MAX + 1];
        const char *why = dialect_rows[i].why;
        answer_for(d, dialect_rows[i].method, dialect_rows[i].target, dialect_rows[i].client, &a);
        switch (dialect_rows[i].shape) {
        case PLAIN:
            expect_plain(&a, why);
            break;
        case PINNED:
            expect_pinned(&a, why);
            break;
        case WRONG_LENGTH: {
            struct route r;
            parse(dialect_rows[i].method, dialect_rows[i].target, &r);
            expect_wrong_length(&a, r.digest, why);
            break;
        }
        case NOTICE:
            expect_notice(&a, sentence, blob, why);
            break;
        case UNPARSABLE:
            expect_unparsable(&a, why);
            break;
        }
        denial_answer_deinit(&a);
        denials_free(d);
    }
}

Test(denial, plain_style_and_upstream_refusals_are_403_for_everyone) {
    struct denials *d = table_new(1);
    for (size_t i = 0; i < sizeof dialect_rows / sizeof *dialect_rows; i++) {
        struct route r;
        struct denial_answer a;
        parse(dialect_rows[i].method, dialect_rows[i].target, &r);
        denials_answer(d, DENIALS_PLAIN, &r, dialect_rows[i].client, REASON_RULE, sentence, "id-1", start, &a);
        expect_plain(&a, dialect_rows[i].why);
        denial_answer_deinit(&a);
        denials_answer(d, DENIALS_FINAL, &r, dialect_rows[i].client, REASON_UPSTREAM_AUTH, sentence, "id-1", start, &a);
        expect_plain(&a, dialect_rows[i].why);
        denial_answer_deinit(&a);
    }
    denials_free(d);
}

// --- the table ---

static void target_of(char out[1024], const char *format, const char *digest) {
    // The format is one of this file's literals with one %s.
    const char *hole = strstr(format, "%s");
    snprintf(out, 1024, "%.*s%s%s", (int)(hole - format), format, digest, hole + 2);
}

Test(denial, a_pinned_digest_is_answered_with_the_first_words) {
    struct denials *d = table_new(1);
    struct denial_answer head;
    struct denial_answer a;
    char target[1024];
    answer_for(d, "HEAD", "/v2/library/x/manifests/1?ns=docker.io", CLIENT_OTHER, &head);
    expect_pinned(&head, "HEAD of the tag");

    target_of(target, "/v2/library/x/manifests/%s?ns=docker.io", head.docker_content_digest);
    cr_assert(again(d, "GET", target, &a), "the digest is known");
    expect_plain(&a, "GET of the pinned digest");
    denial_answer_deinit(&a);

    cr_assert(again(d, "HEAD", target, &a), "the digest is known to HEAD");
    expect_pinned(&a, "HEAD of the pinned digest");
    cr_expect_str_eq(a.docker_content_digest, head.docker_content_digest, "the same digest");
    cr_expect_eq(a.content_length, head.content_length, "the same length");
    denial_answer_deinit(&a);

    target_of(target, "/v2/x/manifests/%s", head.docker_content_digest);
    cr_expect(again(d, "GET", target, &a), "another spelling of the same repository");
    denial_answer_deinit(&a);

    static const char *const elsewhere[] = {"/v2/library/y/manifests/%s?ns=docker.io",
                                            "/v2/library/x/manifests/%s?ns=ghcr.io", "/v2/library/x/referrers/%s"};
    for (size_t i = 0; i < sizeof elsewhere / sizeof *elsewhere; i++) {
        target_of(target, elsewhere[i], head.docker_content_digest);
        cr_expect_not(again(d, "GET", target, &a), "%s", target);
    }
    target_of(target, "/v2/library/x/manifests/%s?ns=docker.io", head.docker_content_digest);
    cr_expect_not(again(d, "PUT", target, &a), "a push is decided by the rules");
    cr_expect_not(again(d, "DELETE", target, &a), "a deletion too");
    cr_expect_not(again(d, "GET", "/v2/library/x/manifests/1?ns=docker.io", &a), "the tag is decided by the rules");
    denial_answer_deinit(&head);
    denials_free(d);
}

Test(denial, made_digests) {
    struct denials *d = table_new(1);
    struct denials *other = table_new(9);
    struct denial_answer first;
    struct denial_answer a;
    static const char target[] = "/v2/library/x/manifests/1?ns=docker.io";
    answer_for(d, "HEAD", target, CLIENT_OTHER, &first);
    answer_for(d, "HEAD", target, CLIENT_OTHER, &a);
    cr_expect_str_eq(a.docker_content_digest, first.docker_content_digest, "the same denial, the same digest");
    denial_answer_deinit(&a);
    answer_for(d, "HEAD", "/v2/library/x/manifests/2?ns=docker.io", CLIENT_OTHER, &a);
    cr_expect_str_neq(a.docker_content_digest, first.docker_content_digest, "another tag");
    denial_answer_deinit(&a);
    answer_for(d, "HEAD", "/v2/library/y/manifests/1?ns=docker.io", CLIENT_OTHER, &a);
    cr_expect_str_neq(a.docker_content_digest, first.docker_content_digest, "another repository");
    denial_answer_deinit(&a);
    answer_for(d, "HEAD", "/v2/library/x/manifests/1?ns=ghcr.io", CLIENT_OTHER, &a);
    cr_expect_str_neq(a.docker_content_digest, first.docker_content_digest, "another registry");
    denial_answer_deinit(&a);
    answer_for(other, "HEAD", target, CLIENT_OTHER, &a);
    cr_expect_str_neq(a.docker_content_digest, first.docker_content_digest, "another process's secret");
    denial_answer_deinit(&a);
    struct route r;
    parse("HEAD", target, &r);
    denials_answer(d, DENIALS_FINAL, &r, CLIENT_OTHER, REASON_RULE, "other words", "id-2", start, &a);
    cr_expect_str_neq(a.docker_content_digest, first.docker_content_digest, "other words: each keeps its own");
    denial_answer_deinit(&a);
    denial_answer_deinit(&first);
    denials_free(d);
    denials_free(other);
}

Test(denial, a_digest_that_a_client_asked_for_is_never_remembered) {
    struct denials *d = table_new(1);
    struct denial_answer a;
    static const char *const targets[] = {"/v2/library/x/manifests/" D256 "?ns=docker.io",
                                          "/v2/library/x/manifests/" D256};
    static const enum client_kind clients[] = {CLIENT_OTHER, CLIENT_DOCKER, CLIENT_CONTAINERS_IMAGE, CLIENT_CONTAINERD};
    for (size_t i = 0; i < 2; i++) {
        for (size_t j = 0; j < 3; j++) {
            answer_for(d, "HEAD", targets[i], clients[j], &a);
            denial_answer_deinit(&a);
            answer_for(d, "GET", targets[i], clients[j], &a);
            denial_answer_deinit(&a);
            cr_expect_not(again(d, "GET", targets[i], &a), "the rules decide anew: it may be allowed by now");
        }
    }
    denials_free(d);
}

Test(denial, a_notice_and_its_blob_are_answered_in_that_repository) {
    struct denials *d = table_new(1);
    struct denial_answer notice;
    struct denial_answer a;
    char blob[DIGEST_TEXT_MAX + 1];
    char same_blob[DIGEST_TEXT_MAX + 1];
    char target[1024];
    answer_for(d, "HEAD", "/v2/library/x/manifests/1", CLIENT_DOCKER, &notice);
    expect_notice(&notice, sentence, blob, "HEAD of the tag");
    target_of(target, "/v2/library/x/manifests/%s", notice.docker_content_digest);
    static const char *const methods[] = {"GET", "HEAD"};
    for (size_t i = 0; i < 2; i++) {
        cr_assert(again(d, methods[i], target, &a), "%s", methods[i]);
        expect_notice(&a, sentence, same_blob, methods[i]);
        cr_assert_eq(a.body_len, notice.body_len);
        cr_expect_arr_eq(a.body, notice.body, a.body_len, "the same bytes");
        denial_answer_deinit(&a);
    }
    target_of(target, "/v2/library/y/manifests/%s", notice.docker_content_digest);
    cr_expect_not(again(d, "GET", target, &a), "another repository");

    cr_expect_str_neq(blob, "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
                      "not the digest of {}, which a client may hold");
    target_of(target, "/v2/library/x/blobs/%s", blob);
    for (size_t i = 0; i < 2; i++) {
        cr_assert(again(d, methods[i], target, &a), "the blob: %s", methods[i]);
        expect_plain(&a, "the notice's blob");
        denial_answer_deinit(&a);
    }
    target_of(target, "/v2/library/x/blobs/%s", notice.docker_content_digest);
    cr_assert(again(d, "GET", target, &a), "the notice asked for as a blob");
    expect_plain(&a, "the notice asked for as a blob");
    denial_answer_deinit(&a);
    denial_answer_deinit(&notice);
    denials_free(d);
}

Test(denial, the_table_forgets) {
    struct denials *d = table_new(1);
    struct denial_answer head;
    struct denial_answer a;
    char id[REQUEST_ID_MAX + 1];
    char target[1024];
    answer_for(d, "HEAD", "/v2/library/x/manifests/1?ns=docker.io", CLIENT_OTHER, &head);
    target_of(target, "/v2/library/x/manifests/%s?ns=docker.io", head.docker_content_digest);
    cr_assert(again_at(d, "GET", target, start + DENIAL_TTL_SECONDS - 1, &a, id), "until its time is over");
    denial_answer_deinit(&a);
    cr_expect_not(again_at(d, "GET", target, start + DENIAL_TTL_SECONDS, &a, id), "its time is over");
    cr_expect_not(again_at(d, "GET", target, start, &a, id), "and it is gone");

    struct route r;
    answer_for(d, "HEAD", "/v2/library/x/manifests/1?ns=docker.io", CLIENT_OTHER, &a);
    denial_answer_deinit(&a);
    for (int i = 0; i < DENIAL_TABLE_MAX; i++) {
        char filler[64];
        snprintf(filler, sizeof filler, "/v2/library/x/manifests/f%d?ns=docker.io", i);
        parse("HEAD", filler, &r);
        denials_answer(d, DENIALS_FINAL, &r, CLIENT_OTHER, REASON_RULE, sentence, "id-9", start, &a);
        denial_answer_deinit(&a);
    }
    cr_expect_not(again_at(d, "GET", target, start, &a, id), "the oldest made room");
    denial_answer_deinit(&head);
    denials_free(d);
}

// --- strangers' text in an answer ---

Test(denial, nasty_sentences) {
    static const struct {
        const char *why, *text, *shown, *location;
    } rows[] = {
        {"quotes and backslashes", "say \"no\" to C:\\x", "say \"no\" to C:\\x", "say 'no' to C:\\x"},
        {"UTF-8", "nicht zulässig ✓", "nicht zulässig ✓", "nicht zul?ssig ?"},
        {"a header's line break", "a\r\nX-Evil: 1", "a  X-Evil: 1", "a  X-Evil: 1"},
        {"broken UTF-8", "a\xff\xc3+b", "a??+b", "a??+b"},
        {"a terminal's escape", "\x1b[31mred", "?[31mred", "?[31mred"},
        {"text that runs backwards", "a\xe2\x80\xae z", "a? z", "a? z"},
        {"a C1 control",
         "a\xc2\x9b"
         "31mb",
         "a?31mb", "a?31mb"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct denials *d = table_new(1);
        struct denial_answer a;
        struct route r;
        char blob[DIGEST_TEXT_MAX + 1];
        parse("GET", "/v2/x/manifests/1", &r);
        denials_answer(d, DENIALS_FINAL, &r, CLIENT_OTHER, REASON_RULE, rows[i].text, "i", start, &a);
        expect_error(&a, 403, rows[i].shown, rows[i].why);
        denial_answer_deinit(&a);
        denials_answer(d, DENIALS_FINAL, &r, CLIENT_DOCKER, REASON_RULE, rows[i].text, "i", start, &a);
        expect_notice(&a, rows[i].shown, blob, rows[i].why);
        denial_answer_deinit(&a);
        parse("GET", "/v2/x/manifests/" D256, &r);
        denials_answer(d, DENIALS_FINAL, &r, CLIENT_DOCKER, REASON_RULE, rows[i].text, "i", start, &a);
        char expected[DENIAL_SENTENCE_MAX + 100];
        snprintf(expected, sizeof expected, "https://denied.invalid/%%zz %s (no such process)", rows[i].location);
        cr_expect_str_eq(a.location, expected, "%s", rows[i].why);
        denial_answer_deinit(&a);
        denials_free(d);
    }
}

Test(denial, an_overlong_sentence_is_cut) {
    struct denials *d = table_new(1);
    struct denial_answer a;
    struct route r;
    char text[1001];
    char blob[DIGEST_TEXT_MAX + 1];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    parse("GET", "/v2/x/manifests/1", &r);
    denials_answer(d, DENIALS_FINAL, &r, CLIENT_DOCKER, REASON_RULE, text,
                   "an-id-that-is-longer-than-32-characters-is-cut", start, &a);
    text[DENIAL_SENTENCE_MAX] = '\0';
    expect_notice(&a, text, blob, "cut");
    denial_answer_deinit(&a);
    denials_free(d);
}

Test(denial, error_body) {
    size_t len = 0;
    char *body = denial_error_body("NAME_UNKNOWN", "a \"b\"", &len);
    cr_expect_str_eq(body, "{\"errors\":[{\"code\":\"NAME_UNKNOWN\",\"message\":\"a \\\"b\\\"\"}]}");
    cr_expect_eq(len, strlen(body));
    free(body);
}

// --- clients ---

Test(denial, clients) {
    static const struct {
        const char *why, *user_agent;
        bool header;
        enum client_kind kind;
    } rows[] = {
        {"dockerd's graphdriver", "docker/20.10.24 go/go1.19.8 UpstreamClient(Docker-Client/20.10)", false,
         CLIENT_DOCKER},
        {"dockerd's containerd store", "docker/29.7.2 containerd-client/2.3.4+unknown storage-driver/overlayfs", false,
         CLIENT_CONTAINERD},
        {"dockerd with the header is dockerd", "docker/20.10.24", true, CLIENT_DOCKER},
        {"docker's name elsewhere", "my docker/1", false, CLIENT_OTHER},
        {"containerd", "containerd/v2.3.4", false, CLIENT_CONTAINERD},
        {"BuildKit", "buildkit/v0.32", false, CLIENT_CONTAINERD},
        {"podman through containers/image", "containers/5.23.1 (github.com/containers/image)", false,
         CLIENT_CONTAINERS_IMAGE},
        {"buildah", "Buildah/1.28.2", false, CLIENT_CONTAINERS_IMAGE},
        {"skopeo", "skopeo/1.9.3", false, CLIENT_CONTAINERS_IMAGE},
        {"podman", "Podman/4.3.1", false, CLIENT_CONTAINERS_IMAGE},
        {"libpod", "libpod/4.3.1", false, CLIENT_CONTAINERS_IMAGE},
        {"CRI-O", "cri-o/1.28.0 go/go1.20", false, CLIENT_CONTAINERS_IMAGE},
        {"the header alone", "curl/8", true, CLIENT_CONTAINERS_IMAGE},
        {"the header without any name", NULL, true, CLIENT_CONTAINERS_IMAGE},
        {"curl", "curl/7.88.1", false, CLIENT_OTHER},
        {"nothing", NULL, false, CLIENT_OTHER},
        {"empty", "", false, CLIENT_OTHER},
        {"a prefix of a name", "podma", false, CLIENT_OTHER},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_expect_eq(
            denial_client(rows[i].user_agent, rows[i].user_agent ? strlen(rows[i].user_agent) : 0, rows[i].header),
            rows[i].kind, "%s", rows[i].why);
    cr_expect_eq(denial_client("docker/1 containerd-client", 10, false), CLIENT_DOCKER, "no byte past the length");
}

// --- a registry's own name ---

Test(denial, under_a_registrys_own_name) {
    static const struct {
        const char *why, *method, *target;
        enum client_kind client;
        int status;
    } rows[] = {
        {"docker by tag: HEAD", "HEAD", "/v2/a/b/manifests/1", CLIENT_DOCKER, 403},
        {"docker by digest", "GET", "/v2/a/b/manifests/" D256, CLIENT_DOCKER, 403},
        {"podman prints what a 403 says", "GET", "/v2/a/b/manifests/1", CLIENT_CONTAINERS_IMAGE, 403},
        {"curl", "HEAD", "/v2/a/b/manifests/1", CLIENT_OTHER, 403},
        {"containerd has no words for a refused HEAD", "HEAD", "/v2/a/b/manifests/1", CLIENT_CONTAINERD, 200},
        {"containerd by digest", "HEAD", "/v2/a/b/manifests/" D256, CLIENT_CONTAINERD, 200},
        {"containerd's GET", "GET", "/v2/a/b/manifests/1", CLIENT_CONTAINERD, 403},
        {"containerd's blob", "GET", "/v2/a/b/blobs/" D256, CLIENT_CONTAINERD, 403},
    };
    struct denials *d = denials_new((const uint8_t[32]){1});
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct route_context ctx = {.default_registry = "docker.io", .taken_over = "ghcr.io"};
        struct denial_answer a;
        struct route r;
        route_parse(&ctx, rows[i].method, strlen(rows[i].method), rows[i].target, strlen(rows[i].target), &r);
        denials_answer(d, DENIALS_FINAL, &r, rows[i].client, REASON_RULE, "no", "id", 1000, &a);
        cr_expect_eq(a.status, rows[i].status, "%s: %d", rows[i].why, a.status);
        denial_answer_deinit(&a);
        denials_answer(d, DENIALS_PLAIN, &r, rows[i].client, REASON_RULE, "no", "id", 1000, &a);
        cr_expect_eq(a.status, 403, "%s: plain", rows[i].why);
        denial_answer_deinit(&a);
    }
    denials_free(d);
}
