// SPDX-License-Identifier: Apache-2.0
//
// Content digests.

#include "mirrors/oci/digest.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define EMPTY_256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define ABC_256 "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define ABC_512                                                                                                        \
    "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e" \
    "2a9ac94fa54ca49f"

struct row {
    const char *why, *text;
    enum digest_result result;
};

Test(digest, check) {
    const struct row rows[] = {
        {"sha256", "sha256:" ABC_256, DIGEST_OK},
        {"sha512", "sha512:" ABC_512, DIGEST_OK},
        {"empty", "", DIGEST_MALFORMED},
        {"no algorithm", ":" ABC_256, DIGEST_MALFORMED},
        {"no hex", "sha256:", DIGEST_MALFORMED},
        {"no colon", "sha256", DIGEST_MALFORMED},
        {"upper-case hex", "sha256:BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD", DIGEST_MALFORMED},
        {"an upper-case algorithm", "SHA256:" ABC_256, DIGEST_MALFORMED},
        {"too short", "sha256:abc", DIGEST_MALFORMED},
        {"too long", "sha256:" ABC_256 "0", DIGEST_MALFORMED},
        {"a sha256 named sha512", "sha512:" ABC_256, DIGEST_MALFORMED},
        {"no hex digit", "sha256:ga7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", DIGEST_MALFORMED},
        {"two colons", "sha256:sha256:" ABC_256, DIGEST_MALFORMED},
        {"a slash", "sha256:../../etc/passwd", DIGEST_MALFORMED},
        {"another algorithm", "sha384:abcdef", DIGEST_UNSUPPORTED},
        {"blake3", "blake3:" ABC_256, DIGEST_UNSUPPORTED},
        {"several components", "multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8", DIGEST_UNSUPPORTED},
        {"a joint at the start", "+a:b", DIGEST_MALFORMED},
        {"a joint at the end", "a+:b", DIGEST_MALFORMED},
        {"two joints", "a+.b:c", DIGEST_MALFORMED},
        {"a strange encoded part", "md5:a/b", DIGEST_MALFORMED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum digest_algorithm algorithm;
        cr_expect_eq(digest_check(rows[i].text, strlen(rows[i].text), &algorithm), rows[i].result, "%s", rows[i].why);
        cr_expect_eq(digest_check(rows[i].text, strlen(rows[i].text), NULL), rows[i].result, "%s", rows[i].why);
    }
    enum digest_algorithm algorithm = DIGEST_SHA256;
    digest_check("sha512:" ABC_512, 135, &algorithm);
    cr_expect_eq(algorithm, DIGEST_SHA512);
    char text[] = "sha256:" ABC_256;
    text[20] = '\0';
    cr_expect_eq(digest_check(text, 71, NULL), DIGEST_MALFORMED, "a NUL");
}

Test(digest, computed) {
    char out[DIGEST_TEXT_MAX + 1];
    digest_of(DIGEST_SHA256, "", 0, out);
    cr_assert_str_eq(out, "sha256:" EMPTY_256);
    digest_of(DIGEST_SHA256, NULL, 0, out);
    cr_assert_str_eq(out, "sha256:" EMPTY_256);
    digest_of(DIGEST_SHA512, "abc", 3, out);
    cr_assert_str_eq(out, "sha512:" ABC_512);
    cr_assert_eq(strlen(out), DIGEST_TEXT_MAX);
}

Test(digest, in_pieces) {
    char out[DIGEST_TEXT_MAX + 1];
    struct digest_hasher *h = digest_hasher_new(DIGEST_SHA256);
    digest_hasher_add(h, "a", 1);
    digest_hasher_add(h, "", 0);
    digest_hasher_add(h, "bc", 2);
    digest_hasher_end(h, out);
    digest_hasher_free(h);
    digest_hasher_free(NULL);
    cr_assert_str_eq(out, "sha256:" ABC_256);
}
