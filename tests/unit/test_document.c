// SPDX-License-Identifier: Apache-2.0
//
// Manifests and indexes that strangers wrote.

#include "mirrors/base/mem.h"
#include "mirrors/oci/document.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define DOCKER_LIST "application/vnd.docker.distribution.manifest.list.v2+json"
#define DIGEST_A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define DIGEST_B "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define HALF "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define DIGEST_512 "sha512:" HALF HALF
#define A "{\"digest\":\"" DIGEST_A "\",\"size\":1}"
#define B "{\"digest\":\"" DIGEST_B "\",\"size\":2}"
/// A manifest with something more in the document, in its config, in its layer.
#define MANIFEST(document, config, layer)                                                                              \
    "{\"schemaVersion\":2,\"config\":{\"digest\":\"" DIGEST_A "\",\"size\":1" config                                   \
    "},\"layers\":[{\"digest\":\"" DIGEST_B "\",\"size\":2" layer "}]" document "}"
#define INDEX(document, child)                                                                                         \
    "{\"schemaVersion\":2,\"manifests\":[{\"digest\":\"" DIGEST_A "\",\"size\":1" child "}]" document "}"

static bool only_good_host(void *ctx, const char *url) {
    return strncmp(url, "https://good.example.com/", 25) == 0;
}

struct row {
    const char *json, *content_type;
    enum document_verdict expected;
    const char *why;
};

static void judge_rows(const struct row *rows, size_t count) {
    for (size_t i = 0; i < count; i++) {
        struct document d;
        struct err err = {0};
        enum document_verdict v =
            document_judge(rows[i].json, strlen(rows[i].json), rows[i].content_type, only_good_host, NULL, &d, &err);
        cr_expect_eq(v, rows[i].expected, "%s: %s instead of %s (%s): %s", rows[i].why, document_verdict_word(v),
                     document_verdict_word(rows[i].expected), err.text, rows[i].json);
        cr_expect_eq(err.text[0] == '\0', v == DOCUMENT_OK, "%s: a sentence exactly when refused", rows[i].why);
        if (v == DOCUMENT_OK)
            document_deinit(&d);
    }
}

Test(document, types) {
    static const struct row rows[] = {
        {MANIFEST("", "", ""), OCI_MANIFEST, DOCUMENT_OK, "an OCI manifest"},
        {MANIFEST("", "", ""), DOCKER_MANIFEST, DOCUMENT_OK, "a Docker manifest"},
        {INDEX("", ""), OCI_INDEX, DOCUMENT_OK, "an index"},
        {INDEX("", ""), DOCKER_LIST, DOCUMENT_OK, "a list"},
        {MANIFEST("", "", ""), OCI_MANIFEST "; charset=utf-8", DOCUMENT_OK, "a parameter"},
        {MANIFEST("", "", ""), " " OCI_MANIFEST " ;x", DOCUMENT_OK, "spaces"},
        {MANIFEST("", "", ""), "Application/VND.oci.image.manifest.v1+JSON", DOCUMENT_OK, "case"},
        {MANIFEST(",\"mediaType\":\"" OCI_MANIFEST "\"", "", ""), OCI_MANIFEST, DOCUMENT_OK, "mediaType agrees"},
        {MANIFEST(",\"mediaType\":\"application/vnd.OCI.image.manifest.v1+json\"", "", ""), OCI_MANIFEST, DOCUMENT_OK,
         "mediaType agrees but for case"},
        {MANIFEST(",\"mediaType\":\"\"", "", ""), OCI_MANIFEST, DOCUMENT_OK, "an empty mediaType is none to Go"},
        {MANIFEST(",\"mediaType\":null", "", ""), OCI_MANIFEST, DOCUMENT_OK, "a null mediaType is none to Go"},
        {MANIFEST(",\"mediaType\":\"" DOCKER_MANIFEST "\"", "", ""), OCI_MANIFEST, DOCUMENT_MEDIA_TYPE,
         "mediaType says Docker"},
        {MANIFEST(",\"mediaType\":\"" OCI_INDEX "\"", "", ""), OCI_MANIFEST, DOCUMENT_MEDIA_TYPE, "mediaType: index"},
        {MANIFEST(",\"mediaType\":\"" OCI_MANIFEST ";x\"", "", ""), OCI_MANIFEST, DOCUMENT_MEDIA_TYPE,
         "mediaType with a parameter is another string"},
        {MANIFEST(",\"mediaType\":7", "", ""), OCI_MANIFEST, DOCUMENT_MALFORMED, "mediaType is a number"},
        {MANIFEST(",\"mediaType\":\"text/html\"", "", ""), OCI_MANIFEST, DOCUMENT_MEDIA_TYPE,
         "mediaType is no manifest"},
        {MANIFEST(",\"mediaType\":\"" OCI_MANIFEST "\"", "", ""), NULL, DOCUMENT_OK, "mediaType alone"},
        {MANIFEST(",\"mediaType\":\"" OCI_MANIFEST "\"", "", ""), "", DOCUMENT_OK, "an empty Content-Type"},
        {MANIFEST(",\"mediaType\":\"" OCI_MANIFEST "\"", "", ""), "application/json; charset=utf-8", DOCUMENT_OK,
         "application/json says nothing"},
        {MANIFEST("", "", ""), NULL, DOCUMENT_MEDIA_TYPE, "no type at all"},
        {MANIFEST("", "", ""), "application/json", DOCUMENT_MEDIA_TYPE, "no type at all"},
        {MANIFEST(",\"mediaType\":\"" OCI_MANIFEST "\"", "", ""), "text/plain", DOCUMENT_MEDIA_TYPE, "text/plain"},
        {MANIFEST(",\"mediaType\":\"" OCI_MANIFEST "\"", "", ""), "application/octet-stream", DOCUMENT_MEDIA_TYPE,
         "octet-stream"},
        {MANIFEST("", "", ""), OCI_INDEX, DOCUMENT_MEDIA_TYPE, "a manifest sent as an index"},
        {INDEX("", ""), OCI_MANIFEST, DOCUMENT_MEDIA_TYPE, "an index sent as a manifest"},
        {"{\"config\":" A "}", OCI_MANIFEST, DOCUMENT_MEDIA_TYPE, "no layers"},
        {"{\"layers\":[" A "]}", OCI_MANIFEST, DOCUMENT_MEDIA_TYPE, "no config"},
        {"{}", OCI_MANIFEST, DOCUMENT_MEDIA_TYPE, "nothing"},
        {"{}", OCI_INDEX, DOCUMENT_MEDIA_TYPE, "nothing"},
        {"{\"mediaType\":\"application/vnd.oci.artifact.manifest.v1+json\",\"blobs\":[" A "]}",
         "application/vnd.oci.artifact.manifest.v1+json", DOCUMENT_MEDIA_TYPE, "the withdrawn artifact manifest"},
        {"{\"config\":" A ",\"layers\":[]}", OCI_MANIFEST, DOCUMENT_OK, "no layers to fetch"},
        {"{\"config\":" A ",\"layers\":null}", OCI_MANIFEST, DOCUMENT_OK, "Go's empty list"},
        {"{\"manifests\":[]}", OCI_INDEX, DOCUMENT_OK, "an empty index"},
        {"{\"config\":" A ",\"layers\":[]}", DOCKER_MANIFEST "x", DOCUMENT_MEDIA_TYPE, "nearly a known type"},
    };
    judge_rows(rows, sizeof rows / sizeof *rows);
}

Test(document, schema1) {
    static const char signed_type[] = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    static const struct row rows[] = {
        {"{\"schemaVersion\":1,\"name\":\"a\",\"tag\":\"b\",\"architecture\":\"c\",\"fsLayers\":[{\"blobSum\":"
         "\"" DIGEST_A "\"}],\"history\":[],\"signatures\":[]}",
         signed_type, DOCUMENT_SCHEMA1, "signed"},
        {"{\"schemaVersion\":1}", "application/vnd.docker.distribution.manifest.v1+json", DOCUMENT_SCHEMA1, "unsigned"},
        {MANIFEST("", "", ""), signed_type, DOCUMENT_SCHEMA1, "only the Content-Type says so"},
        {"not json", signed_type, DOCUMENT_SCHEMA1, "whatever is in it"},
        {"{\"schemaVersion\":1,\"config\":" A ",\"layers\":[]}", OCI_MANIFEST, DOCUMENT_SCHEMA1, "only its version"},
        {MANIFEST(",\"fsLayers\":[]", "", ""), OCI_MANIFEST, DOCUMENT_SCHEMA1, "only its fsLayers"},
        {MANIFEST(",\"fsLayers\":null", "", ""), OCI_MANIFEST, DOCUMENT_SCHEMA1, "only its fsLayers, null"},
        {MANIFEST(",\"mediaType\":\"application/vnd.docker.distribution.manifest.v1+json\"", "", ""), OCI_MANIFEST,
         DOCUMENT_SCHEMA1, "only its mediaType"},
        {"{\"schemaVersion\":1,\"name\":\"a\",\"fsLayers\":[]}", "application/json", DOCUMENT_SCHEMA1, "as plain JSON"},
        {"{\"schemaVersion\":1,\"name\":\"a\",\"fsLayers\":[]}", NULL, DOCUMENT_SCHEMA1, "without a Content-Type"},
        {"{\"schemaVersion\":3,\"config\":" A ",\"layers\":[]}", OCI_MANIFEST, DOCUMENT_MALFORMED,
         "an unknown version"},
        {"{\"schemaVersion\":\"2\",\"config\":" A ",\"layers\":[]}", OCI_MANIFEST, DOCUMENT_MALFORMED, "a string"},
        {"{\"schemaVersion\":1.5,\"config\":" A ",\"layers\":[]}", OCI_MANIFEST, DOCUMENT_MALFORMED, "a fraction"},
    };
    judge_rows(rows, sizeof rows / sizeof *rows);
}

Test(document, two_meanings) {
    static const struct row rows[] = {
        {INDEX(",\"layers\":[" B "]", ""), OCI_INDEX, DOCUMENT_AMBIGUOUS, "manifests and layers (CVE-2021-41190)"},
        {INDEX(",\"layers\":[]", ""), OCI_INDEX, DOCUMENT_AMBIGUOUS, "manifests and empty layers"},
        {INDEX(",\"layers\":null", ""), OCI_INDEX, DOCUMENT_AMBIGUOUS, "manifests and null layers"},
        {INDEX(",\"config\":" A, ""), OCI_INDEX, DOCUMENT_AMBIGUOUS, "manifests and config"},
        {INDEX(",\"fsLayers\":[]", ""), OCI_INDEX, DOCUMENT_AMBIGUOUS, "manifests and fsLayers"},
        {INDEX(",\"blobs\":[]", ""), OCI_INDEX, DOCUMENT_AMBIGUOUS, "manifests and blobs"},
        {MANIFEST(",\"manifests\":[]", "", ""), OCI_MANIFEST, DOCUMENT_AMBIGUOUS, "the other way round"},
        {MANIFEST(",\"manifests\":null", "", ""), OCI_MANIFEST, DOCUMENT_AMBIGUOUS, "null manifests"},
    };
    judge_rows(rows, sizeof rows / sizeof *rows);
}

/// Each spelling is one that Go's encoding/json takes for the known key; U+017F is \xc5\xbf, U+212A is \xe2\x84\xaa.
Test(document, folded_keys) {
    static const struct row rows[] = {
        {MANIFEST("", "", ",\"URLS\":[\"https://evil.net/\"]"), OCI_MANIFEST, DOCUMENT_AMBIGUOUS, "URLS"},
        {MANIFEST("", "", ",\"Urls\":[]"), OCI_MANIFEST, DOCUMENT_AMBIGUOUS, "Urls, even when empty"},
        {MANIFEST("", "", ",\"url\xc5\xbf\":[\"https://evil.net/\"]"), OCI_MANIFEST, DOCUMENT_AMBIGUOUS,
         "urls with a long s"},
        {MANIFEST("", "", ",\"url\\u017f\":[\"https://evil.net/\"]"), OCI_MANIFEST, DOCUMENT_AMBIGUOUS,
         "urls with an escaped long s"},
        {MANIFEST("", "", ",\"\\u0055rls\":[\"https://evil.net/\"]"), OCI_MANIFEST, DOCUMENT_AMBIGUOUS,
         "urls with an escaped capital"},
        {MANIFEST("", "", ",\"\\u0075rls\":[\"https://evil.net/\"]"), OCI_MANIFEST, DOCUMENT_URLS,
         "urls with an escaped small letter is urls"},
        {MANIFEST("", "", ",\"urls\":[],\"URLS\":[\"https://evil.net/\"]"), OCI_MANIFEST, DOCUMENT_AMBIGUOUS, "both"},
        {MANIFEST("", ",\"URLS\":[\"https://evil.net/\"]", ""), OCI_MANIFEST, DOCUMENT_AMBIGUOUS, "in the config"},
        {INDEX("", ",\"URLS\":[\"https://evil.net/\"]"), OCI_INDEX, DOCUMENT_AMBIGUOUS, "in a child"},
        {MANIFEST(",\"subject\":{\"digest\":\"" DIGEST_A "\",\"size\":1,\"URLS\":[]}", "", ""), OCI_MANIFEST,
         DOCUMENT_AMBIGUOUS, "in the subject"},
        {MANIFEST(",\"blobs\":[{\"digest\":\"" DIGEST_A "\",\"size\":1,\"URLS\":[]}]", "", ""), OCI_MANIFEST,
         DOCUMENT_AMBIGUOUS, "in a blob"},
        {MANIFEST("", "", ",\"Digest\":\"" DIGEST_A "\""), OCI_MANIFEST, DOCUMENT_AMBIGUOUS, "Digest beside digest"},
        {MANIFEST("", "", ",\"dige\xc5\xbft\":\"" DIGEST_A "\""), OCI_MANIFEST, DOCUMENT_AMBIGUOUS,
         "a long s in digest"},
        {MANIFEST("", "", ",\"\xc5\xbfize\":3"), OCI_MANIFEST, DOCUMENT_AMBIGUOUS, "a long s in size"},
        {MANIFEST("", "", ",\"SIZE\":3"), OCI_MANIFEST, DOCUMENT_AMBIGUOUS, "SIZE beside size"},
        {MANIFEST("", "", ",\"mediatype\":\"x\""), OCI_MANIFEST, DOCUMENT_AMBIGUOUS, "mediatype in a descriptor"},
        {MANIFEST("", "", ",\"Annotations\":{}"), OCI_MANIFEST, DOCUMENT_AMBIGUOUS, "Annotations in a descriptor"},
        {MANIFEST("", "", ",\"DATA\":\"\""), OCI_MANIFEST, DOCUMENT_AMBIGUOUS, "DATA in a descriptor"},
        {MANIFEST("", "", ",\"Platform\":{}"), OCI_MANIFEST, DOCUMENT_AMBIGUOUS, "Platform in a descriptor"},
        {MANIFEST("", "", ",\"artifacttype\":\"\""), OCI_MANIFEST, DOCUMENT_AMBIGUOUS, "artifacttype in a descriptor"},
        {MANIFEST(",\"Layers\":[]", "", ""), OCI_MANIFEST, DOCUMENT_AMBIGUOUS, "Layers"},
        {MANIFEST(",\"layer\xc5\xbf\":[]", "", ""), OCI_MANIFEST, DOCUMENT_AMBIGUOUS, "layers with a long s"},
        {MANIFEST(",\"Layer\\u017F\":[]", "", ""), OCI_MANIFEST, DOCUMENT_AMBIGUOUS, "Layers with an escaped long s"},
        {MANIFEST(",\"CONFIG\":{}", "", ""), OCI_MANIFEST, DOCUMENT_AMBIGUOUS, "CONFIG"},
        {MANIFEST(",\"Manifests\":[]", "", ""), OCI_MANIFEST, DOCUMENT_AMBIGUOUS, "Manifests in a manifest"},
        {MANIFEST(",\"manife\xc5\xbft\xc5\xbf\":[]", "", ""), OCI_MANIFEST, DOCUMENT_AMBIGUOUS, "two long s"},
        {MANIFEST(",\"fslayers\":[]", "", ""), OCI_MANIFEST, DOCUMENT_AMBIGUOUS, "fslayers"},
        {MANIFEST(",\"f\xc5\xbfLayers\":[]", "", ""), OCI_MANIFEST, DOCUMENT_AMBIGUOUS, "a long s in fsLayers"},
        {MANIFEST(",\"MediaType\":\"" OCI_INDEX "\"", "", ""), OCI_MANIFEST, DOCUMENT_AMBIGUOUS, "MediaType"},
        {MANIFEST(",\"schemaversion\":1", "", ""), OCI_MANIFEST, DOCUMENT_AMBIGUOUS, "schemaversion"},
        {MANIFEST(",\"Subject\":" A, "", ""), OCI_MANIFEST, DOCUMENT_AMBIGUOUS, "Subject"},
        {MANIFEST(",\"\xc5\xbfubject\":" A, "", ""), OCI_MANIFEST, DOCUMENT_AMBIGUOUS, "a long s in subject"},
        {MANIFEST(",\"Blobs\":[]", "", ""), OCI_MANIFEST, DOCUMENT_AMBIGUOUS, "Blobs"},
        {MANIFEST(",\"ArtifactType\":\"\"", "", ""), OCI_MANIFEST, DOCUMENT_AMBIGUOUS, "ArtifactType"},
        {MANIFEST(",\"ANNOTATIONS\":{}", "", ""), OCI_MANIFEST, DOCUMENT_AMBIGUOUS, "ANNOTATIONS"},
        {MANIFEST(",\"History\":[]", "", ""), OCI_MANIFEST, DOCUMENT_AMBIGUOUS, "History"},
        {MANIFEST(",\"Signatures\":[]", "", ""), OCI_MANIFEST, DOCUMENT_AMBIGUOUS, "Signatures"},
        {MANIFEST(",\"Name\":\"\"", "", ""), OCI_MANIFEST, DOCUMENT_AMBIGUOUS, "Name"},
        {MANIFEST(",\"TAG\":\"\"", "", ""), OCI_MANIFEST, DOCUMENT_AMBIGUOUS, "TAG"},
        {MANIFEST(",\"Architecture\":\"\"", "", ""), OCI_MANIFEST, DOCUMENT_AMBIGUOUS, "Architecture"},
        {INDEX(",\"Config\":{}", ""), OCI_INDEX, DOCUMENT_AMBIGUOUS, "Config in an index"},
        {INDEX(",\"LAYERS\":[]", ""), OCI_INDEX, DOCUMENT_AMBIGUOUS, "LAYERS in an index"},
        {MANIFEST(",\"foo\":1,\"FOO\":2", "", ""), OCI_MANIFEST, DOCUMENT_AMBIGUOUS,
         "unknown keys, twice after folding"},
        {MANIFEST(",\"key\":1,\"\xe2\x84\xaa"
                  "ey\":2",
                  "", ""),
         OCI_MANIFEST, DOCUMENT_AMBIGUOUS, "the Kelvin sign"},
        {MANIFEST(",\"key\":1,\"\\u212aey\":2", "", ""), OCI_MANIFEST, DOCUMENT_AMBIGUOUS, "the Kelvin sign, escaped"},
        {MANIFEST("", "", ",\"x\":1,\"X\":2"), OCI_MANIFEST, DOCUMENT_AMBIGUOUS, "unknown keys of a descriptor"},
        {MANIFEST(",\"foo\":1,\"bar\":{\"URLS\":[]}", "", ""), OCI_MANIFEST, DOCUMENT_OK,
         "unknown keys, and inside them"},
        {MANIFEST("", "", ",\"platform\":{\"OS\":\"linux\",\"os\":\"linux\"}"), OCI_MANIFEST, DOCUMENT_OK,
         "what is inside of a platform is no descriptor"},
        {MANIFEST("", "", ",\"annotations\":{\"URLS\":\"x\",\"urls\":\"y\"}"), OCI_MANIFEST, DOCUMENT_OK,
         "what is inside of annotations is no descriptor"},
        {MANIFEST("", "", ",\"\xc3\xbcrls\":[]"), OCI_MANIFEST, DOCUMENT_OK, "another letter"},
        {MANIFEST("", "", ",\"urls \":[\"https://evil.net/\"]"), OCI_MANIFEST, DOCUMENT_OK, "a space is another key"},
    };
    judge_rows(rows, sizeof rows / sizeof *rows);
}

Test(document, malformed) {
    static const struct row rows[] = {
        {"", OCI_MANIFEST, DOCUMENT_MALFORMED, "nothing"},
        {"<html>", OCI_MANIFEST, DOCUMENT_MALFORMED, "a web page"},
        {"[]", OCI_MANIFEST, DOCUMENT_MALFORMED, "a list"},
        {"null", OCI_MANIFEST, DOCUMENT_MALFORMED, "null"},
        {MANIFEST("", "", "") "x", OCI_MANIFEST, DOCUMENT_MALFORMED, "something after it"},
        {MANIFEST(" // comment\n", "", ""), OCI_MANIFEST, DOCUMENT_MALFORMED, "a comment"},
        {"\xef\xbb\xbf" MANIFEST("", "", ""), OCI_MANIFEST, DOCUMENT_MALFORMED, "a byte order mark"},
        {MANIFEST(",\"layers\":[]", "", ""), OCI_MANIFEST, DOCUMENT_MALFORMED, "a key twice"},
        {MANIFEST("", "", ",\"x\":\"a\\u0000b\""), OCI_MANIFEST, DOCUMENT_MALFORMED, "a NUL"},
        {MANIFEST("", "", ",\"urls\\u0000\":[]"), OCI_MANIFEST, DOCUMENT_MALFORMED, "a NUL in a key"},
        {"{\"config\":null,\"layers\":[]}", OCI_MANIFEST, DOCUMENT_MALFORMED, "a null config"},
        {"{\"config\":[],\"layers\":[]}", OCI_MANIFEST, DOCUMENT_MALFORMED, "a list as config"},
        {"{\"config\":" A ",\"layers\":{}}", OCI_MANIFEST, DOCUMENT_MALFORMED, "an object as layers"},
        {"{\"config\":" A ",\"layers\":[\"x\"]}", OCI_MANIFEST, DOCUMENT_MALFORMED, "a string as layer"},
        {"{\"config\":" A ",\"layers\":[null]}", OCI_MANIFEST, DOCUMENT_MALFORMED, "null as layer"},
        {"{\"config\":" A ",\"layers\":[{\"size\":1}]}", OCI_MANIFEST, DOCUMENT_MALFORMED, "no digest"},
        {"{\"config\":" A ",\"layers\":[{\"digest\":\"" DIGEST_A "\"}]}", OCI_MANIFEST, DOCUMENT_MALFORMED, "no size"},
        {"{\"config\":" A ",\"layers\":[{\"digest\":\"" DIGEST_A "\",\"size\":-1}]}", OCI_MANIFEST, DOCUMENT_MALFORMED,
         "a negative size"},
        {"{\"config\":" A ",\"layers\":[{\"digest\":\"" DIGEST_A "\",\"size\":1.5}]}", OCI_MANIFEST, DOCUMENT_MALFORMED,
         "half a byte"},
        {"{\"config\":" A ",\"layers\":[{\"digest\":\"" DIGEST_A "\",\"size\":\"1\"}]}", OCI_MANIFEST,
         DOCUMENT_MALFORMED, "a string as size"},
        {"{\"config\":" A ",\"layers\":[{\"digest\":\"" DIGEST_A "\",\"size\":99999999999999999999}]}", OCI_MANIFEST,
         DOCUMENT_MALFORMED, "a size over 64 bits"},
        {"{\"config\":" A ",\"layers\":[{\"digest\":7,\"size\":1}]}", OCI_MANIFEST, DOCUMENT_MALFORMED, "a number"},
        {"{\"config\":" A ",\"layers\":[{\"digest\":\"\",\"size\":1}]}", OCI_MANIFEST, DOCUMENT_MALFORMED, "empty"},
        {"{\"config\":" A ",\"layers\":[{\"digest\":\"sha256:abc\",\"size\":1}]}", OCI_MANIFEST, DOCUMENT_MALFORMED,
         "a short digest"},
        {"{\"config\":" A ",\"layers\":[{\"digest\":\"../../etc/passwd\",\"size\":1}]}", OCI_MANIFEST,
         DOCUMENT_MALFORMED, "a path as digest"},
        {MANIFEST("", "", ",\"mediaType\":1"), OCI_MANIFEST, DOCUMENT_MALFORMED, "a layer's mediaType is a number"},
        {MANIFEST(",\"subject\":\"x\"", "", ""), OCI_MANIFEST, DOCUMENT_MALFORMED, "a string as subject"},
        {MANIFEST(",\"subject\":{}", "", ""), OCI_MANIFEST, DOCUMENT_MALFORMED, "an empty subject"},
        {MANIFEST(",\"subject\":null", "", ""), OCI_MANIFEST, DOCUMENT_OK, "no subject"},
        {MANIFEST(",\"blobs\":\"x\"", "", ""), OCI_MANIFEST, DOCUMENT_MALFORMED, "a string as blobs"},
        {INDEX("", ",\"platform\":7"), OCI_INDEX, DOCUMENT_OK, "a platform is the client's business"},
        {"{\"manifests\":{}}", OCI_INDEX, DOCUMENT_MALFORMED, "an object as manifests"},
    };
    judge_rows(rows, sizeof rows / sizeof *rows);
}

Test(document, urls) {
    static const struct {
        const char *json, *content_type;
        enum document_verdict expected;
        const char *host, *why;
    } rows[] = {
        {MANIFEST("", "", ",\"urls\":[]"), OCI_MANIFEST, DOCUMENT_OK, "", "an empty list"},
        {MANIFEST("", "", ",\"urls\":null"), OCI_MANIFEST, DOCUMENT_OK, "", "null"},
        {MANIFEST("", "", ",\"urls\":[\"https://good.example.com/x\"]"), OCI_MANIFEST, DOCUMENT_OK, "", "permitted"},
        {MANIFEST("", "", ",\"urls\":[\"https://evil.net/x?s=secret\"]"), OCI_MANIFEST, DOCUMENT_URLS, "evil.net",
         "in a layer"},
        {MANIFEST("", ",\"urls\":[\"https://evil.net/x\"]", ""), OCI_MANIFEST, DOCUMENT_URLS, "evil.net",
         "in the config"},
        {INDEX("", ",\"urls\":[\"https://evil.net/x\"]"), OCI_INDEX, DOCUMENT_URLS, "evil.net", "in a child"},
        {MANIFEST(",\"subject\":{\"digest\":\"" DIGEST_A "\",\"size\":1,\"urls\":[\"https://evil.net\"]}", "", ""),
         OCI_MANIFEST, DOCUMENT_URLS, "evil.net", "in the subject"},
        {MANIFEST(",\"blobs\":[{\"digest\":\"" DIGEST_A "\",\"size\":1,\"urls\":[\"https://evil.net\"]}]", "", ""),
         OCI_MANIFEST, DOCUMENT_URLS, "evil.net", "in a blob"},
        {MANIFEST("", "", ",\"urls\":[\"https://good.example.com/x\",\"https://evil.net:8443/x\"]"), OCI_MANIFEST,
         DOCUMENT_URLS, "evil.net:8443", "the second is not permitted"},
        {MANIFEST("", "", ",\"urls\":[\"https://user:secret@evil.net/x\"]"), OCI_MANIFEST, DOCUMENT_URLS, "evil.net",
         "never the user info"},
        {MANIFEST("", "", ",\"urls\":[\"https://a@b:secret@evil.net/x\"]"), OCI_MANIFEST, DOCUMENT_URLS, "evil.net",
         "the last @ counts"},
        {MANIFEST("", "", ",\"urls\":[\"evil\\nnet\\u00e9\"]"), OCI_MANIFEST, DOCUMENT_URLS, "evil?net??", "printable"},
        {MANIFEST("", "", ",\"urls\":[\"\"]"), OCI_MANIFEST, DOCUMENT_URLS, "", "an empty string is one too"},
        {MANIFEST("", "",
                  ",\"mediaType\":\"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip\",\"urls\":["
                  "\"https://mcr.microsoft.com/x\"]"),
         DOCKER_MANIFEST, DOCUMENT_URLS, "mcr.microsoft.com", "a foreign layer"},
        {"{\"manifests\":[{\"digest\":\"sha384:" HALF "\",\"size\":1,\"urls\":[\"https://evil.net\"]}]}", OCI_INDEX,
         DOCUMENT_URLS, "evil.net", "also with an unknown algorithm"},
        {MANIFEST("", "", ",\"urls\":\"https://evil.net\""), OCI_MANIFEST, DOCUMENT_MALFORMED, "", "a string"},
        {MANIFEST("", "", ",\"urls\":{}"), OCI_MANIFEST, DOCUMENT_MALFORMED, "", "an object"},
        {MANIFEST("", "", ",\"urls\":[7]"), OCI_MANIFEST, DOCUMENT_MALFORMED, "", "a number in it"},
        {MANIFEST("", "", ",\"urls\":[\"https://good.example.com/x\",null]"), OCI_MANIFEST, DOCUMENT_MALFORMED, "",
         "null in it"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct document d;
        struct err err = {0};
        enum document_verdict v =
            document_judge(rows[i].json, strlen(rows[i].json), rows[i].content_type, only_good_host, NULL, &d, &err);
        cr_expect_eq(v, rows[i].expected, "%s: %s (%s)", rows[i].why, document_verdict_word(v), err.text);
        cr_expect_str_eq(d.urls_host, rows[i].host, "%s: %s", rows[i].why, d.urls_host);
        cr_expect_null(strstr(err.text, "secret"), "%s: %s", rows[i].why, err.text);
        if (v == DOCUMENT_URLS)
            cr_expect_not_null(strstr(err.text, rows[i].host), "%s: the host is named: %s", rows[i].why, err.text);
        if (v == DOCUMENT_OK)
            document_deinit(&d);
    }
}

Test(document, urls_without_a_judge) {
    static const char json[] = MANIFEST("", "", ",\"urls\":[\"https://good.example.com/x\"]");
    struct document d;
    cr_expect_eq(document_judge(json, strlen(json), OCI_MANIFEST, NULL, NULL, &d, NULL), DOCUMENT_URLS,
                 "without a judge none is permitted");
}

Test(document, a_long_host_is_cut) {
    char *xs = mem_zalloc(1, 1001);
    memset(xs, 'x', 1000);
    char *json = mem_printf(MANIFEST("", "", ",\"urls\":[\"https://%s/\"]"), xs);
    struct document d;
    cr_expect_eq(document_judge(json, strlen(json), OCI_MANIFEST, NULL, NULL, &d, NULL), DOCUMENT_URLS, "refused");
    cr_expect_eq(strlen(d.urls_host), sizeof d.urls_host - 1, "cut");
    free(json);
    free(xs);
}

Test(document, what_a_manifest_names) {
    static const char json[] =
        "{\"schemaVersion\":2,\"mediaType\":\"" OCI_MANIFEST "\",\"config\":{\"mediaType\":\"c\",\"digest\":\"" DIGEST_A
        "\",\"size\":10},\"layers\":[{\"mediaType\":\"l\",\"digest\":\"" DIGEST_512
        "\",\"size\":9007199254740993},{\"digest\":\"sha384:" HALF "\",\"size\":1}],\"blobs\":[" B "],\"subject\":" B
        "}";
    struct document d;
    struct err err = {0};
    cr_assert_eq(document_judge(json, strlen(json), "application/json", NULL, NULL, &d, &err), DOCUMENT_OK, "%s",
                 err.text);
    cr_expect_eq(d.kind, DOCUMENT_MANIFEST, "its kind");
    cr_expect_str_eq(d.media_type, OCI_MANIFEST, "the effective type");
    cr_expect_str_eq(d.subject, DIGEST_B, "its subject");
    cr_assert_eq(d.count, 3, "config, one layer, one blob; the other layer's algorithm is unsupported: %zu", d.count);
    cr_expect_eq(d.descriptors[0].role, ROLE_CONFIG, "config");
    cr_expect_str_eq(d.descriptors[0].digest, DIGEST_A, "config");
    cr_expect_eq(d.descriptors[0].size, 10, "config");
    cr_expect_str_eq(d.descriptors[0].media_type, "c", "config");
    cr_expect_eq(d.descriptors[1].role, ROLE_LAYER, "layer");
    cr_expect_str_eq(d.descriptors[1].digest, DIGEST_512, "sha512");
    cr_expect_eq(d.descriptors[1].size, 9007199254740993ULL, "a size that no double holds");
    cr_expect_eq(d.descriptors[2].role, ROLE_BLOB, "blob");
    cr_expect_str_eq(d.descriptors[2].media_type, "", "absent");
    document_deinit(&d);
}

Test(document, what_an_index_names) {
    static const char json[] = "{\"manifests\":[" A "," B "],\"subject\":" A "}";
    struct document d;
    struct err err = {0};
    cr_assert_eq(document_judge(json, strlen(json), DOCKER_LIST "; x=y", NULL, NULL, &d, &err), DOCUMENT_OK, "%s",
                 err.text);
    cr_expect_eq(d.kind, DOCUMENT_INDEX, "its kind");
    cr_expect_str_eq(d.media_type, DOCKER_LIST, "the Content-Type without its parameter");
    cr_assert_eq(d.count, 2, "two children");
    cr_expect_eq(d.descriptors[1].role, ROLE_MANIFEST, "a child");
    cr_expect_str_eq(d.subject, DIGEST_A, "an index may have a subject");
    document_deinit(&d);
}

static enum document_verdict with_layers(size_t count, struct document *out, struct err *err) {
    static const char one[] = A ",";
    static const char start[] = "{\"config\":" A ",\"layers\":[";
    char *json = mem_alloc(sizeof start + count * sizeof one + 3), *at = json;
    at += sprintf(at, "%s", start);
    for (size_t i = 0; i < count; i++)
        at += sprintf(at, "%s", one);
    sprintf(at - 1, "]}");
    enum document_verdict v = document_judge(json, strlen(json), OCI_MANIFEST, NULL, NULL, out, err);
    free(json);
    return v;
}

Test(document, bounds) {
    struct document d;
    struct err err = {0};
    cr_assert_eq(with_layers(DOCUMENT_DESCRIPTORS_MAX - 1, &d, &err), DOCUMENT_OK, "as many as may be: %s", err.text);
    cr_expect_eq(d.count, DOCUMENT_DESCRIPTORS_MAX, "all of them, with the config");
    document_deinit(&d);
    cr_expect_eq(with_layers(DOCUMENT_DESCRIPTORS_MAX, &d, &err), DOCUMENT_MALFORMED, "one more");

    char *large = mem_alloc(DOCUMENT_SIZE_MAX + 1);
    memset(large, ' ', DOCUMENT_SIZE_MAX + 1);
    static const char json[] = MANIFEST("", "", "");
    memcpy(large, json, strlen(json));
    cr_expect_eq(document_judge(large, DOCUMENT_SIZE_MAX, OCI_MANIFEST, NULL, NULL, &d, &err), DOCUMENT_OK,
                 "the largest: %s", err.text);
    document_deinit(&d);
    cr_expect_eq(document_judge(large, DOCUMENT_SIZE_MAX + 1, OCI_MANIFEST, NULL, NULL, &d, &err), DOCUMENT_TOO_LARGE,
                 "one byte more");
    memset(large, '[', DOCUMENT_SIZE_MAX);
    cr_expect_eq(document_judge(large, DOCUMENT_SIZE_MAX, OCI_MANIFEST, NULL, NULL, &d, &err), DOCUMENT_MALFORMED,
                 "nothing but brackets");
    free(large);
}

Test(document, many_keys) {
    char json[4096] = "{\"manifests\":[]", *at = json + strlen(json);
    for (int i = 0; i < 100; i++)
        at += sprintf(at, ",\"k%d\":1", i);
    sprintf(at, "}");
    struct document d;
    struct err err = {0};
    cr_expect_eq(document_judge(json, strlen(json), OCI_INDEX, NULL, NULL, &d, &err), DOCUMENT_MALFORMED,
                 "more keys than are compared: %s", err.text);
}

Test(document, known_types) {
    static const struct {
        const char *type;
        bool known;
        enum document_kind kind;
    } rows[] = {
        {OCI_MANIFEST, true, DOCUMENT_MANIFEST},
        {DOCKER_MANIFEST, true, DOCUMENT_MANIFEST},
        {OCI_INDEX, true, DOCUMENT_INDEX},
        {DOCKER_LIST, true, DOCUMENT_INDEX},
        {"APPLICATION/vnd.oci.image.index.v1+json", true, DOCUMENT_INDEX},
        {"application/vnd.docker.distribution.manifest.v1+json", false, DOCUMENT_INDEX},
        {"application/json", false, DOCUMENT_INDEX},
        {"", false, DOCUMENT_INDEX},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum document_kind kind = DOCUMENT_INDEX;
        cr_expect_eq(document_type_known(rows[i].type, strlen(rows[i].type), &kind), rows[i].known, "%s", rows[i].type);
        cr_expect_eq(kind, rows[i].kind, "%s", rows[i].type);
        if (rows[i].known)
            cr_expect(strcasestr(document_accept, rows[i].type), "asked for: %s", rows[i].type);
    }
}

Test(document, words) {
    for (int v = DOCUMENT_OK; v <= DOCUMENT_DIGEST; v++)
        cr_expect_not_null(document_verdict_word((enum document_verdict)v), "a word for %d", v);
    cr_expect_str_eq(document_verdict_word(DOCUMENT_SCHEMA1), "schema1", "its word");
    cr_expect_str_eq(document_verdict_word(DOCUMENT_URLS), "urls", "its word");
}
