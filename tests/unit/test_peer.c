// SPDX-License-Identifier: Apache-2.0
//
// Client certificates: which are good today, and whom they name.

#include "certs/peer.h"
#include "pki.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { NOW = 1800000000, YEAR = 365 * PKI_DAY };

// --- judging ---

struct judge_row {
    const char *why;
    struct pki_spec spec;
    bool other_authority; ///< Issued by one that nobody trusts.
    bool revoked, list;
    int64_t list_until;
    bool expired_accepted;
    const char *says; ///< NULL: good.
};

#define GOOD .name = "a", .from = NOW - PKI_DAY, .until = NOW + PKI_DAY

static const struct judge_row judge_rows[] = {
    {"a good one", {GOOD}, .says = NULL},
    {"for clients and servers", {GOOD, .usage = "serverAuth,clientAuth"}, .says = NULL},
    {"for servers only", {GOOD, .usage = "serverAuth"}, .says = "your certificate is not meant for clients"},
    {"ended",
     {.name = "a", .from = NOW - YEAR, .until = NOW - 1},
     .says = "your client certificate ended on 2027-01-15"},
    {"not yet",
     {.name = "a", .from = NOW + PKI_DAY, .until = NOW + YEAR},
     .says = "your client certificate is not valid before 2027-01-16"},
    {"another authority's", {GOOD}, .other_authority = true, .says = "your client certificate is not accepted: "},
    {"with a list that has it not", {GOOD}, .list = true, .list_until = NOW + PKI_DAY, .says = NULL},
    {"revoked",
     {GOOD},
     .list = true,
     .revoked = true,
     .list_until = NOW + PKI_DAY,
     .says = "your client certificate is revoked"},
    {"an expired list",
     {GOOD},
     .list = true,
     .list_until = NOW - 1,
     .says = "the list of revoked client certificates has expired"},
    {"an expired list that is accepted",
     {GOOD},
     .list = true,
     .list_until = NOW - 1,
     .expired_accepted = true,
     .says = NULL},
    {"revoked by an expired list that is accepted",
     {GOOD},
     .list = true,
     .revoked = true,
     .list_until = NOW - 1,
     .expired_accepted = true,
     .says = "your client certificate is revoked"},
    {"ended, with an expired list that is accepted",
     {.name = "a", .from = NOW - YEAR, .until = NOW - 1},
     .list = true,
     .list_until = NOW - 1,
     .expired_accepted = true,
     .says = "your client certificate ended on"},
};

struct authorities {
    char *folder, *file;
    struct pki_pair good, bad;
};

static void make_authorities(struct authorities *a) {
    struct pki_spec spec = {.name = "ca", .authority = true, .from = NOW - YEAR, .until = NOW + YEAR};
    a->folder = pki_folder();
    a->good = pki_make(&spec, NULL);
    a->bad = pki_make(&spec, NULL); // Of the same name.
    a->file = pki_write(a->folder, "ca.pem", a->good.certificate, NULL, NULL, 0644);
}

static void free_authorities(struct authorities *a) {
    pki_free(&a->good);
    pki_free(&a->bad);
    free(a->file);
    pki_folder_free(a->folder);
}

static void judge(const struct authorities *a, const struct judge_row *row) {
    struct err err = {""};
    struct pki_pair client = pki_make(&row->spec, row->other_authority ? &a->bad : &a->good);
    char *list_file = NULL;
    if (row->list) {
        X509_CRL *list = pki_list(&a->good, row->revoked ? client.certificate : NULL, NOW - YEAR, row->list_until);
        list_file = pki_write(a->folder, "list.pem", NULL, NULL, list, 0644);
        X509_CRL_free(list);
    }
    struct peer_trust *t = peer_trust_new(a->file, list_file, row->expired_accepted, &err);
    cr_assert_not_null(t, "%s: %s", row->why, err.text);
    cr_expect_eq(peer_trust_crl_ends(t), row->list ? row->list_until : INT64_MAX, "%s", row->why);
    bool good = peer_verify(t, client.certificate, NULL, NOW, &err);
    cr_expect_eq(good, row->says == NULL, "%s: %s", row->why, err.text);
    if (row->says != NULL)
        cr_expect_eq(strncmp(err.text, row->says, strlen(row->says)), 0, "%s: %s", row->why, err.text);
    peer_trust_free(t);
    free(list_file);
    pki_free(&client);
}

Test(peer, judged) {
    struct authorities a;
    make_authorities(&a);
    for (size_t i = 0; i < sizeof judge_rows / sizeof judge_rows[0]; i++)
        judge(&a, &judge_rows[i]);
    free_authorities(&a);
}

Test(peer, chains) {
    struct authorities a;
    struct err err = {""};
    make_authorities(&a);
    struct pki_pair middle = pki_make(
        &(struct pki_spec){.name = "middle", .authority = true, .from = NOW - YEAR, .until = NOW + YEAR}, &a.good);
    struct pki_pair old = pki_make(
        &(struct pki_spec){.name = "old", .authority = true, .from = NOW - YEAR, .until = NOW - PKI_DAY}, &a.good);
    struct pki_pair client = pki_make(&(struct pki_spec){GOOD}, &middle),
                    late = pki_make(&(struct pki_spec){GOOD}, &old);
    struct pki_pair below = pki_make(&(struct pki_spec){GOOD}, &client); // Signed by what is no authority.
    STACK_OF(X509) *chain = sk_X509_new_null();
    sk_X509_push(chain, middle.certificate);
    sk_X509_push(chain, old.certificate);
    sk_X509_push(chain, client.certificate);
    struct peer_trust *t = peer_trust_new(a.file, NULL, false, &err);
    cr_expect(peer_verify(t, client.certificate, chain, NOW, &err), "%s", err.text);
    cr_expect(!peer_verify(t, client.certificate, NULL, NOW, &err), "the one between is missing");
    cr_expect(!peer_verify(t, below.certificate, chain, NOW, &err), "issued by a client");
    cr_expect(!peer_verify(t, late.certificate, chain, NOW, &err), "the one between has ended");
    cr_expect_eq(strncmp(err.text, "the authority of your client certificate ended on 2027-01-14", 60), 0, "%s",
                 err.text);
    peer_trust_free(t);
    char *file = pki_write(a.folder, "middle.pem", middle.certificate, NULL, NULL, 0644);
    t = peer_trust_new(file, NULL, false, &err);
    cr_expect(peer_verify(t, client.certificate, NULL, NOW, &err), "the site may name one that is no root: %s",
              err.text);
    struct pki_pair direct = pki_make(&(struct pki_spec){GOOD}, &a.good);
    cr_expect(!peer_verify(t, direct.certificate, NULL, NOW, &err), "and then not what its root issued");
    peer_trust_free(t);
    sk_X509_free(chain);
    free(file);
    pki_free(&direct);
    pki_free(&middle);
    pki_free(&old);
    pki_free(&client);
    pki_free(&late);
    pki_free(&below);
    free_authorities(&a);
}

Test(peer, a_revoked_authority_in_between) {
    struct authorities a;
    struct err err = {""};
    make_authorities(&a);
    const struct pki_spec spec = {.name = "middle", .authority = true, .from = NOW - YEAR, .until = NOW + YEAR};
    struct pki_pair middle = pki_make(&spec, &a.good), client = pki_make(&(struct pki_spec){GOOD}, &middle);
    STACK_OF(X509) *chain = sk_X509_new_null();
    sk_X509_push(chain, middle.certificate);
    X509_CRL *of_middle = pki_list(&middle, NULL, NOW - YEAR, NOW + YEAR);
    char *lists = pki_write(a.folder, "middle.crl", NULL, NULL, of_middle, 0644);
    const struct {
        const char *why, *says;
        bool list, revoked, accepted;
        int64_t until;
    } rows[] = {
        {"its issuer has no list here", NULL, .list = false},
        {"its issuer's list has it not", NULL, .list = true, .until = NOW + YEAR},
        {"revoked", "the authority of your client certificate is revoked", .list = true, .revoked = true,
         .until = NOW + YEAR},
        {"its issuer's list has expired", "the list of revoked client certificates has expired", .list = true,
         .until = NOW - 1},
        {"that is accepted", NULL, .list = true, .accepted = true, .until = NOW - 1},
        {"that is accepted, and has it", "the authority of your client certificate is revoked", .list = true,
         .revoked = true, .accepted = true, .until = NOW - 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        X509_CRL *list = rows[i].list
                             ? pki_list(&a.good, rows[i].revoked ? middle.certificate : NULL, NOW - YEAR, rows[i].until)
                             : NULL;
        char *file = pki_write(a.folder, "root.pem", a.good.certificate, NULL, list, 0644);
        struct peer_trust *t = peer_trust_new(file, lists, rows[i].accepted, &err);
        cr_assert_not_null(t, "%s: %s", rows[i].why, err.text);
        bool good = peer_verify(t, client.certificate, chain, NOW, &err);
        cr_expect_eq(good, rows[i].says == NULL, "%s: %s", rows[i].why, err.text);
        if (rows[i].says != NULL)
            cr_expect_eq(strncmp(err.text, rows[i].says, strlen(rows[i].says)), 0, "%s: %s", rows[i].why, err.text);
        peer_trust_free(t);
        X509_CRL_free(list);
        free(file);
    }
    X509_CRL_free(of_middle);
    sk_X509_free(chain);
    free(lists);
    pki_free(&middle);
    pki_free(&client);
    free_authorities(&a);
}

Test(peer, wrong_files) {
    struct authorities a;
    struct err err = {""};
    make_authorities(&a);
    struct pki_pair client = pki_make(&(struct pki_spec){GOOD}, &a.good);
    char *leaf = pki_write(a.folder, "leaf.pem", client.certificate, NULL, NULL, 0644);
    char *empty = pki_write(a.folder, "empty.pem", NULL, NULL, NULL, 0644);
    const struct {
        const char *why, *ca, *list, *says;
    } rows[] = {
        {"nothing", "/nonexistent/ca.pem", NULL, "cannot be read"},
        {"empty", empty, NULL, "there is no certificate in it"},
        {"a client's", leaf, NULL, "is no authority's"},
        {"no list", a.file, empty, "there is no revocation list in it"},
        {"a certificate for a list", a.file, a.file, "there is no revocation list in it"},
        {"no list at all", a.file, "/nonexistent/list.pem", "cannot be read"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_expect_null(peer_trust_new(rows[i].ca, rows[i].list, false, &err), "%s", rows[i].why);
        cr_expect_not_null(strstr(err.text, rows[i].says), "%s: %s", rows[i].why, err.text);
    }
    free(leaf);
    free(empty);
    pki_free(&client);
    free_authorities(&a);
}

// --- reading ---

struct read_row {
    const char *why;
    const char *common, *unit, *alternatives;
    enum peer_name_from order[4];
    size_t count;
    const char *name;
};

#define ALL {PEER_URI, PEER_DNS, PEER_EMAIL, PEER_COMMON_NAME}, 4

static const struct read_row read_rows[] = {
    {"a URI first", "cn", NULL, "DNS:a.test,URI:spiffe://a/b,email:a@b.test", ALL, "spiffe://a/b"},
    {"then DNS", "cn", NULL, "email:a@b.test,DNS:a.test", ALL, "a.test"},
    {"then e-mail", "cn", NULL, "email:a@b.test", ALL, "a@b.test"},
    {"then the common name", "cn", NULL, NULL, ALL, "cn"},
    {"an address is none", "cn", NULL, "IP:10.0.0.1", ALL, "cn"},
    {"another order", "cn", NULL, "DNS:a.test", {PEER_COMMON_NAME, PEER_DNS}, 2, "cn"},
    {"only what is asked for", "cn", NULL, "DNS:a.test", {PEER_EMAIL}, 1, ""},
    {"the first of a kind", "cn", NULL, "DNS:a.test,DNS:b.test", {PEER_DNS}, 1, "a.test"},
    {"none at all", NULL, NULL, NULL, ALL, ""},
    {"letters beyond ASCII in a common name", "J\xc3\xb6rg", NULL, NULL, ALL, "J\xc3\xb6rg"},
    {"a line end", "a\nb", NULL, NULL, ALL, ""},
    {"an escape", "a\x1b[2J", NULL, NULL, ALL, ""},
    {"a C1 control",
     "a\xc2\x9b"
     "b",
     NULL, NULL, ALL, ""},
};

Test(peer, named) {
    for (size_t i = 0; i < sizeof read_rows / sizeof read_rows[0]; i++) {
        const struct read_row *row = &read_rows[i];
        struct pki_pair p = pki_make(&(struct pki_spec){.name = row->common,
                                                        .unit = row->unit,
                                                        .alternatives = row->alternatives,
                                                        .from = NOW,
                                                        .until = NOW + 1},
                                     NULL);
        struct peer peer;
        peer_read(p.certificate, row->order, row->count, &peer);
        cr_expect_str_eq(peer.name, row->name, "%s: %s", row->why, peer.name);
        cr_expect_eq(peer.group_count, 0, "%s", row->why);
        peer_deinit(&peer);
        pki_free(&p);
    }
}

/// A DNS name of these bytes, and a good one behind it.
static void read_bytes(const char *why, const char *bytes, int len) {
    static const enum peer_name_from order[] = {PEER_DNS};
    struct pki_pair p = pki_make(&(struct pki_spec){.name = "cn", .from = NOW, .until = NOW + 1}, NULL);
    const char *const names[] = {bytes, "good.test"};
    const int lens[] = {len, 9};
    GENERAL_NAMES *all = GENERAL_NAMES_new();
    for (size_t i = 0; i < 2; i++) {
        GENERAL_NAME *one = GENERAL_NAME_new();
        ASN1_IA5STRING *text = ASN1_IA5STRING_new();
        ASN1_STRING_set(text, names[i], lens[i]);
        GENERAL_NAME_set0_value(one, GEN_DNS, text);
        sk_GENERAL_NAME_push(all, one);
    }
    pki_set_alternatives(&p, all, &p);
    struct peer peer;
    peer_read(p.certificate, order, 1, &peer);
    cr_expect_str_eq(peer.name, "good.test", "%s: the bad one is passed over, not cut", why);
    peer_deinit(&peer);
    GENERAL_NAMES_free(all);
    pki_free(&p);
}

Test(peer, bad_bytes) {
    char longest[PEER_NAME_MAX + 2];
    memset(longest, 'a', sizeof longest);
    read_bytes("a NUL", "admin.test\0.evil.test", 21);
    read_bytes("a NUL at the end", "admin.test\0", 11);
    read_bytes("nothing", "", 0);
    read_bytes("a control", "admin\rtest", 10);
    read_bytes("beyond ASCII", "admin\xc3\xb6.test", 12);
    read_bytes("too long", longest, sizeof longest - 1);
}

Test(peer, groups) {
    static const enum peer_name_from order[] = {PEER_COMMON_NAME};
    struct pki_pair p = pki_make(&(struct pki_spec){.name = "cn", .unit = "one", .from = NOW, .until = NOW + 1}, NULL);
    X509_NAME *subject = X509_get_subject_name(p.certificate);
    X509_NAME_add_entry_by_txt(subject, "OU", MBSTRING_UTF8, (const unsigned char *)"b\na", 3, -1, 0);
    for (int i = 0; i < 100; i++)
        X509_NAME_add_entry_by_txt(subject, "OU", MBSTRING_UTF8, (const unsigned char *)"two", -1, -1, 0);
    struct peer peer;
    peer_read(p.certificate, order, 1, &peer);
    cr_assert_eq(peer.group_count, PEER_GROUPS_MAX, "bounded");
    cr_expect_str_eq(peer.groups[0], "one");
    cr_expect_str_eq(peer.groups[1], "two", "the one with a line end is passed over");
    peer_deinit(&peer);
    pki_free(&p);
}
