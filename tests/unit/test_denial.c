// SPDX-License-Identifier: Apache-2.0
//
// How denials are told: the sentence, and the answer for each kind of client.

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
    static const enum client_kind clients[] = {CLIENT_OTHER, CLIENT_DOCKER, CLIENT_CONTAINERS_IMAGE};
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

// --- the sentence ---

Test(denial, sentences) {
    static const struct {
        const char *why;
        struct denial_words words;
        const char *says;
    } rows[] = {
        {"own words alone", {.own = "own words"}, "own words"},
        {"own words, then the site's", {.own = "own words", .site_message = "Ask us."}, "own words. Ask us."},
        {"a rule's message stands alone",
         {.own = "own words", .site_message = "Ask us.", .rule_message = "Not this one."},
         "Not this one."},
        {"an empty rule's message is none", {.own = "own words", .rule_message = ""}, "own words"},
        {"an empty site's message is none", {.own = "own words", .site_message = ""}, "own words"},
        {"every placeholder",
         {.rule_message = "{image}|{registry}|{rule}|{who}|{id}",
          .image = "docker.io/a/b:1",
          .registry = "docker.io",
          .rule = "P-17",
          .who = "ci",
          .id = "4f"},
         "docker.io/a/b:1|docker.io|P-17|ci|4f"},
        {"placeholders in the site's message, one of them twice",
         {.own = "No.", .site_message = "({id}) {id}", .id = "4f"},
         "No. (4f) 4f"},
        {"nobody is anonymous", {.rule_message = "{who} {rule}.", .who = "", .rule = ""}, "anonymous ."},
        {"values are not templates", {.rule_message = "{image} {id}", .image = "{id}", .id = "4f"}, "{id} 4f"},
        {"values are printable", {.rule_message = "{image}", .image = "a\r\nb\x1b\xff"}, "a  b??"},
        {"own words are printable", {.own = "a\nb\x07"}, "a b?"},
        {"nothing at all", {.own = NULL}, ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char out[DENIAL_SENTENCE_MAX + 1];
        denial_sentence(&rows[i].words, out);
        cr_expect_str_eq(out, rows[i].says, "%s: '%s'", rows[i].why, out);
    }
}

/// `count` copies of `unit` in fresh memory.
static char *repeat(const char *unit, size_t count) {
    char *s = calloc(count + 1, strlen(unit));
    for (size_t i = 0; i < count; i++)
        memcpy(s + i * strlen(unit), unit, strlen(unit));
    return s;
}

static bool ends_with(const char *s, const char *tail) {
    return strlen(s) >= strlen(tail) && strcmp(s + strlen(s) - strlen(tail), tail) == 0;
}

Test(denial, too_long_the_gateways_words_are_cut) {
    char out[DENIAL_SENTENCE_MAX + 1];
    char *own = repeat("o", 1000);
    char *umlauts = repeat("ä", 500);
    char *site = repeat("s", 300);
    char *full = repeat("s", DENIAL_SENTENCE_MAX);
    char *image = repeat("i", 700);

    denial_sentence(&(struct denial_words){.own = own}, out);
    cr_expect_eq(strlen(out), DENIAL_SENTENCE_MAX);
    cr_expect(ends_with(out, "o..."), "own words alone: %s", out);

    denial_sentence(&(struct denial_words){.own = umlauts}, out);
    cr_expect(strlen(out) <= DENIAL_SENTENCE_MAX && ends_with(out, "ä..."), "between characters: %s", out);

    denial_sentence(&(struct denial_words){.own = own, .site_message = site}, out);
    cr_expect_eq(strlen(out), DENIAL_SENTENCE_MAX - 1, "after a cut no full stop is added");
    cr_expect(ends_with(out, site) && strstr(out, "o... s"), "the site's words are whole: %s", out);

    denial_sentence(&(struct denial_words){.own = own, .site_message = full}, out);
    cr_expect_str_eq(out, full, "no room for own words");

    denial_sentence(&(struct denial_words){.rule_message = full, .own = own, .site_message = site}, out);
    cr_expect_str_eq(out, full, "a rule's message of the greatest length");

    denial_sentence(&(struct denial_words){.rule_message = "{image} is not allowed, ask us ({id}) {image}",
                                           .image = image,
                                           .id = "4f"},
                    out);
    cr_expect(strlen(out) <= DENIAL_SENTENCE_MAX && strlen(out) > DENIAL_SENTENCE_MAX - 4, "%zu", strlen(out));
    cr_expect(strstr(out, "i... is not allowed, ask us (4f) ii") && ends_with(out, "i..."), "values are cut: %s", out);
    free(own);
    free(umlauts);
    free(site);
    free(full);
    free(image);
}

Test(denial, templates) {
    char *full = repeat("s", DENIAL_SENTENCE_MAX);
    char *over = repeat("s", DENIAL_SENTENCE_MAX + 1);
    const struct {
        const char *why, *text, *says; ///< `says` NULL: valid.
    } rows[] = {
        {"plain text", "Ask platform@example.com: https://wiki.example/images", NULL},
        {"all placeholders", "{image} {registry} {rule} {who} {id}", NULL},
        {"only a placeholder", "{id}", NULL},
        {"UTF-8", "Nicht zulässig – fragen Sie uns", NULL},
        {"the greatest length", full, NULL},
        {"longer", over, "401 bytes"},
        {"an unknown placeholder", "{user} may not", "'{user}'"},
        {"a placeholder in upper case", "{Image}", "'{Image}'"},
        {"an empty placeholder", "{}", "'{}'"},
        {"doubled braces", "{{image}}", "placeholder"},
        {"an open brace", "see {image", "'{'"},
        {"a closing brace", "see image}", "'}'"},
        {"empty", "", "empty"},
        {"blank", "   ", "empty"},
        {"a line break", "a\nb", "byte 2"},
        {"a tab", "a\tb", "byte 2"},
        {"an escape", "\x1b[31m", "byte 1"},
        {"broken UTF-8", "ab\xff", "byte 3"},
        {"a line separator", "a\xe2\x80\xa8", "byte 2"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err = {""};
        bool valid = denial_template_valid(rows[i].text, &err);
        cr_expect_eq(valid, rows[i].says == NULL, "%s: %s", rows[i].why, err.text);
        if (rows[i].says)
            cr_expect(strstr(err.text, rows[i].says), "%s: '%s' does not say %s", rows[i].why, err.text, rows[i].says);
    }
    free(full);
    free(over);
}

Test(denial, own_words) {
    static const struct {
        const char *why;
        enum denial_reason reason;
        struct denial_subject subject;
        const char *says;
    } rows[] = {
        {"an unlisted registry",
         REASON_REGISTRY_NOT_LISTED,
         {.action = ACTION_PULL, .image = "quay.io/a/b:1", .registry = "quay.io"},
         "quay.io/a/b:1 may not be pulled: quay.io is not one of this site's registries: add it to \"registries\""},
        {"a rule",
         REASON_RULE,
         {.action = ACTION_PULL, .image = "docker.io/acme/app:1", .rule = "rules[2]"},
         "docker.io/acme/app:1 may not be pulled: denied by rule rules[2]"},
        {"no rule",
         REASON_NO_RULE,
         {.action = ACTION_PULL, .image = "docker.io/acme/app:1", .detail = "unused"},
         "docker.io/acme/app:1 may not be pulled: no rule allows it"},
        {"a digest without a link",
         REASON_NO_LINK,
         {.action = ACTION_PULL, .image = "docker.io/acme/app@" D256},
         "docker.io/acme/app@" D256 " may not be pulled: pull it by an allowed tag first, or allow this digest"},
        {"a push",
         REASON_ACTION,
         {.action = ACTION_PUSH, .image = "docker.io/acme/app:1"},
         "docker.io/acme/app:1 may not be pushed: pushes are not permitted"},
        {"a deletion",
         REASON_ACTION,
         {.action = ACTION_DELETE, .image = "docker.io/acme/app:1"},
         "docker.io/acme/app:1 may not be deleted: deletions are not permitted"},
        {"the catalogue", REASON_ACTION, {.action = ACTION_LIST}, "the catalogue of a registry may not be listed"},
        {"a list",
         REASON_NO_RULE,
         {.action = ACTION_LIST, .image = "docker.io/acme/app"},
         "docker.io/acme/app may not be listed: no rule allows it"},
        {"a redirect, in the target's own words",
         REASON_REDIRECT_HOST,
         {.action = ACTION_PULL,
          .image = "ghcr.io/a/b:1",
          .detail = "add cdn.example to \"redirect_hosts\" of ghcr.io"},
         "ghcr.io/a/b:1 may not be pulled: add cdn.example to \"redirect_hosts\" of ghcr.io"},
        {"a stranger's text",
         REASON_MALFORMED,
         {.action = ACTION_PULL, .image = "ghcr.io/a/b:1", .detail = "bad \x1b[0m\n key"},
         "ghcr.io/a/b:1 may not be pulled: bad ?[0m  key"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char out[512];
        denial_own_words(rows[i].reason, &rows[i].subject, out, sizeof out);
        cr_expect_str_eq(out, rows[i].says, "%s: '%s'", rows[i].why, out);
    }
    for (int reason = REASON_NONE; reason <= REASON_REQUEST; reason++) {
        char out[512];
        struct denial_subject empty = {.action = ACTION_PULL};
        denial_own_words((enum denial_reason)reason, &empty, out, sizeof out);
        cr_expect(strlen(out) > 8, "%s has words without any detail: '%s'",
                  denial_reason_word((enum denial_reason)reason), out);
    }
}

Test(denial, own_words_keep_the_why_of_a_long_image) {
    char *repository = repeat("a", 500);
    char image[600];
    char out[DENIAL_SENTENCE_MAX + 1];
    snprintf(image, sizeof image, "docker.io/%s:tag", repository);
    struct denial_subject subject = {.action = ACTION_PULL, .image = image, .rule = "P-17"};
    denial_own_words(REASON_RULE, &subject, out, sizeof out);
    cr_expect(strncmp(out, "docker.io/aaa", 13) == 0 && strstr(out, "a...a") && strstr(out, "a:tag may not"), "%s",
              out);
    cr_expect(ends_with(out, "denied by rule P-17"), "%s", out);
    char small[8];
    denial_own_words(REASON_RULE, &subject, small, sizeof small);
    cr_expect_str_eq(small, "dock...", "cut to its room");
    free(repository);
}

Test(denial, reasons_have_distinct_words) {
    for (int i = REASON_NONE; i <= REASON_REQUEST; i++)
        for (int j = REASON_NONE; j < i; j++)
            cr_expect_str_neq(denial_reason_word((enum denial_reason)i), denial_reason_word((enum denial_reason)j));
    cr_expect_str_eq(denial_reason_word(REASON_UPSTREAM_AUTH), "upstream_auth");
    cr_expect_str_eq(denial_reason_word(REASON_REGISTRY_NOT_LISTED), "registry_not_listed");
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
         CLIENT_OTHER},
        {"dockerd with the header is dockerd", "docker/20.10.24", true, CLIENT_DOCKER},
        {"docker's name elsewhere", "my docker/1", false, CLIENT_OTHER},
        {"containerd", "containerd/v2.3.4", false, CLIENT_OTHER},
        {"BuildKit", "buildkit/v0.32", false, CLIENT_OTHER},
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
