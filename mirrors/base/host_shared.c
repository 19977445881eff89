// SPDX-License-Identifier: Apache-2.0
//
// Is a host pattern one under which strangers can get themselves a name?
//
// The table names parents whose children belong to whoever asked first, and hosts that serve many
// owners by path. It is not complete and need not be: it catches what people copy from vendors'
// pages. Where a pattern's wildcard meets the label that names the owner, the pattern is shared.
// Wildcards are compared generously: a doubt counts as shared. Pure; any thread.

#include "mirrors/base/host.h"

#include <string.h>

enum {
    LABELS_MAX = HOST_MAX / 2 + 1,
    OWNER_LITERALS_MIN = 8 // So many literal characters beside a wildcard name an owner well enough.
};

enum parent_kind {
    HOST,   // This host serves many owners by path; what stands below it is not its concern.
    SUFFIX, // The label before it is anyone's to register, by name: no wildcard in it is narrow enough.
    OWNER,  // The label before it names an account.
    BUCKET  // The leftmost label names the owner; buckets may hold dots.
};

struct parent {
    const char *name; // Labels; `*` is any characters.
    enum parent_kind kind;
};

static const struct parent PARENTS[] = {
    // Amazon
    {"s3.amazonaws.com", HOST},
    {"s3-external-1.amazonaws.com", HOST},
    {"s3-accelerate.amazonaws.com", HOST},
    {"s3-accelerate.dualstack.amazonaws.com", HOST},
    {"s3.*.amazonaws.com", HOST},
    {"s3-*.amazonaws.com", HOST},
    {"s3.dualstack.*.amazonaws.com", HOST},
    {"s3-fips.*.amazonaws.com", HOST},
    {"s3-fips.dualstack.*.amazonaws.com", HOST},
    {"s3-website.*.amazonaws.com", HOST},
    {"s3-accesspoint.*.amazonaws.com", HOST},
    {"s3.*.amazonaws.com.cn", HOST},
    {"s3.dualstack.*.amazonaws.com.cn", HOST},
    {"amazonaws.com", BUCKET},
    {"amazonaws.com.cn", BUCKET},
    {"cloudfront.net", OWNER},
    {"elasticbeanstalk.com", SUFFIX},
    {"*.elasticbeanstalk.com", SUFFIX},
    {"awsglobalaccelerator.com", SUFFIX},
    {"amplifyapp.com", SUFFIX},
    {"awsapprunner.com", SUFFIX},
    {"on.aws", SUFFIX},
    // Microsoft
    {"windows.net", SUFFIX},
    {"core.windows.net", SUFFIX},
    {"*.core.windows.net", OWNER},
    {"*.storage.azure.net", OWNER},
    {"azureedge.net", OWNER},
    {"azurefd.net", OWNER},
    {"azurewebsites.net", SUFFIX},
    {"azure-api.net", SUFFIX},
    {"azurecontainerapps.io", SUFFIX},
    {"*.azurecontainerapps.io", SUFFIX},
    {"cloudapp.net", SUFFIX},
    {"cloudapp.azure.com", SUFFIX},
    {"*.cloudapp.azure.com", SUFFIX},
    {"trafficmanager.net", SUFFIX},
    // Google
    {"googleapis.com", SUFFIX},
    {"storage.googleapis.com", BUCKET},
    {"commondatastorage.googleapis.com", BUCKET},
    {"firebasestorage.googleapis.com", HOST},
    {"storage.*.rep.googleapis.com", BUCKET},
    {"storage.cloud.google.com", HOST},
    {"googleusercontent.com", SUFFIX},
    {"appspot.com", SUFFIX},
    {"run.app", SUFFIX},
    {"*.run.app", SUFFIX},
    {"web.app", SUFFIX},
    {"firebaseapp.com", SUFFIX},
    {"cloudfunctions.net", SUFFIX},
    {"blogspot.com", SUFFIX},
    // Cloudflare
    {"r2.cloudflarestorage.com", OWNER},
    {"eu.r2.cloudflarestorage.com", OWNER},
    {"fedramp.r2.cloudflarestorage.com", OWNER},
    {"cloudflarestorage.com", SUFFIX},
    {"r2.dev", SUFFIX},
    {"workers.dev", SUFFIX},
    {"pages.dev", SUFFIX},
    {"trycloudflare.com", SUFFIX},
    // Other object stores
    {"digitaloceanspaces.com", BUCKET},
    {"*.digitaloceanspaces.com", BUCKET},
    {"linodeobjects.com", BUCKET},
    {"*.linodeobjects.com", BUCKET},
    {"vultrobjects.com", BUCKET},
    {"*.vultrobjects.com", BUCKET},
    {"your-objectstorage.com", BUCKET},
    {"*.your-objectstorage.com", BUCKET},
    {"wasabisys.com", BUCKET},
    {"s3.wasabisys.com", BUCKET},
    {"s3.*.wasabisys.com", BUCKET},
    {"backblazeb2.com", BUCKET},
    {"s3.*.backblazeb2.com", BUCKET},
    {"aliyuncs.com", BUCKET},
    {"oss-*.aliyuncs.com", BUCKET},
    {"myqcloud.com", BUCKET},
    {"cos.*.myqcloud.com", BUCKET},
    {"myhuaweicloud.com", BUCKET},
    {"obs.*.myhuaweicloud.com", BUCKET},
    {"scw.cloud", BUCKET},
    {"s3.*.scw.cloud", BUCKET},
    {"cloud.ovh.net", BUCKET},
    {"s3.*.cloud.ovh.net", BUCKET},
    {"s3.*.io.cloud.ovh.net", BUCKET},
    {"oraclecloud.com", BUCKET},
    {"objectstorage.*.oraclecloud.com", BUCKET},
    {"appdomain.cloud", BUCKET},
    {"s3.*.cloud-object-storage.appdomain.cloud", BUCKET},
    {"storage.yandexcloud.net", BUCKET},
    // Content networks
    {"akamaized.net", OWNER},
    {"akamaihd.net", OWNER},
    {"akamaiedge.net", OWNER},
    {"akamai.net", OWNER},
    {"edgekey.net", OWNER},
    {"edgesuite.net", OWNER},
    {"fastly.net", OWNER},
    {"map.fastly.net", OWNER},
    {"global.ssl.fastly.net", OWNER},
    {"freetls.fastly.net", OWNER},
    {"fastlylb.net", OWNER},
    {"b-cdn.net", OWNER},
    {"cdn77.org", OWNER},
    {"kxcdn.com", OWNER},
    {"stackpathdns.com", OWNER},
    {"llnwd.net", OWNER},
    // Pages, forges, platforms
    {"github.io", SUFFIX},
    {"githubusercontent.com", SUFFIX},
    {"raw.githubusercontent.com", HOST},
    {"gist.githubusercontent.com", HOST},
    {"objects.githubusercontent.com", HOST},
    {"release-assets.githubusercontent.com", HOST},
    {"media.githubusercontent.com", HOST},
    {"github.com", HOST},
    {"gist.github.com", HOST},
    {"codeload.github.com", HOST},
    {"gitlab.io", SUFFIX},
    {"bitbucket.io", SUFFIX},
    {"netlify.app", SUFFIX},
    {"netlify.com", SUFFIX},
    {"vercel.app", SUFFIX},
    {"now.sh", SUFFIX},
    {"herokuapp.com", SUFFIX},
    {"herokussl.com", SUFFIX},
    {"onrender.com", SUFFIX},
    {"fly.dev", SUFFIX},
    {"railway.app", SUFFIX},
    {"ondigitalocean.app", SUFFIX},
    {"supabase.co", SUFFIX},
    {"hf.space", SUFFIX},
    {"readthedocs.io", SUFFIX},
    {"surge.sh", SUFFIX},
    {"glitch.me", SUFFIX},
    {"repl.co", SUFFIX},
    {"replit.app", SUFFIX},
    {"ngrok.io", SUFFIX},
    {"ngrok.app", SUFFIX},
    {"ngrok-free.app", SUFFIX},
    {"*.ngrok.io", SUFFIX},
    {"loca.lt", SUFFIX},
    {"duckdns.org", SUFFIX},
    {"dyndns.org", SUFFIX},
    {"no-ip.org", SUFFIX},
    {"ddns.net", SUFFIX},
    {"nip.io", SUFFIX},
    {"sslip.io", SUFFIX},
    {"wordpress.com", SUFFIX},
    // Top-level names that someone may write out alone
    {"com", SUFFIX},
    {"net", SUFFIX},
    {"org", SUFFIX},
    {"io", SUFFIX},
    {"dev", SUFFIX},
    {"app", SUFFIX},
    {"cloud", SUFFIX},
    {"eu.org", SUFFIX},
    {"uk.com", SUFFIX},
    {"us.com", SUFFIX},
    {"de.com", SUFFIX},
    {"eu.com", SUFFIX},
    {"priv.at", SUFFIX},
    {"asso.fr", SUFFIX},
    {"ltd.uk", SUFFIX},
    {"plc.uk", SUFFIX},
    {"me.uk", SUFFIX},
    {"nhs.uk", SUFFIX},
    {"gv.at", SUFFIX},
    {"nom.br", SUFFIX},
    {"ind.in", SUFFIX},
    {"firm.in", SUFFIX},
    {"id.au", SUFFIX},
    {"asn.au", SUFFIX},
    {"school.nz", SUFFIX},
    {"geek.nz", SUFFIX},
};

// Before a two-letter country: co.uk, com.au, ac.jp, ...
static const char *const SECOND_LEVEL[] = {"co",  "com",  "net", "org", "edu", "ac", "gov",
                                           "gob", "gouv", "or",  "ne",  "go",  "mil"};

// Never delegated, a site's own: nobody outside can register below them.
static const char *const PRIVATE_TOP[] = {"internal", "local",   "lan",       "corp", "home",
                                          "intranet", "private", "localhost", "test"};

struct label {
    const char *s;
    size_t len;
};

struct labels {
    bool many; // A leading `*.`, which is not in `at`.
    size_t count;
    struct label at[LABELS_MAX];
};

// --- labels ---

static bool split_labels(const char *s, size_t len, struct labels *out) {
    *out = (struct labels){0};
    for (;;) {
        const char *dot = memchr(s, '.', len);
        size_t label = dot == NULL ? len : (size_t)(dot - s);
        if (out->count == LABELS_MAX)
            return false;
        out->at[out->count++] = (struct label){s, label};
        if (dot == NULL)
            return true;
        s += label + 1;
        len -= label + 1;
    }
}

// A pattern's leading `*.` is any number of labels; in the table it is one.
static bool split_pattern(const char *s, size_t len, struct labels *out) {
    bool many = len > 2 && s[0] == '*' && s[1] == '.';
    size_t skip = many ? 2 : 0;
    bool fits = split_labels(s + skip, len - skip, out);
    out->many = many;
    return fits;
}

static bool is_wild(struct label l) {
    return memchr(l.s, '*', l.len) != NULL;
}

static bool label_is(struct label l, const char *text) {
    return strlen(text) == l.len && memcmp(l.s, text, l.len) == 0;
}

static bool label_in(struct label l, const char *const *set, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (label_is(l, set[i]))
            return true;
    return false;
}

static size_t min_size(size_t a, size_t b) {
    return a < b ? a : b;
}

static size_t head_len(struct label l) {
    const char *star = memchr(l.s, '*', l.len);
    return star == NULL ? l.len : (size_t)(star - l.s);
}

static size_t tail_len(struct label l) {
    const char *star = memrchr(l.s, '*', l.len);
    return star == NULL ? l.len : l.len - (size_t)(star + 1 - l.s);
}

static size_t literals(struct label l) {
    size_t count = 0;
    for (size_t i = 0; i < l.len; i++)
        count += l.s[i] != '*';
    return count;
}

// Can one name match both? Judged by what stands before the first and after the last `*`: a yes may be wrong, a
// no is not.
static bool may_meet(struct label a, struct label b) {
    if (!is_wild(a) && !is_wild(b))
        return a.len == b.len && memcmp(a.s, b.s, a.len) == 0;
    size_t head = min_size(head_len(a), head_len(b));
    size_t tail = min_size(tail_len(a), tail_len(b));
    bool too_short = (!is_wild(a) && a.len < literals(b)) || (!is_wild(b) && b.len < literals(a));
    return !too_short && memcmp(a.s, b.s, head) == 0 && memcmp(a.s + a.len - tail, b.s + b.len - tail, tail) == 0;
}

// --- parents ---

static bool owner_is_open(struct label owner, enum parent_kind kind) {
    return is_wild(owner) && (kind == SUFFIX || literals(owner) < OWNER_LITERALS_MIN);
}

// As many labels as the parent: the parent itself, or, where its first label stands for regions or the like, one
// name of those that are registered there.
static bool may_be_parent(const struct labels *p, const struct labels *q, enum parent_kind kind) {
    bool first_is_any = label_is(q->at[0], "*") && (kind == SUFFIX || kind == OWNER);
    return !first_is_any || is_wild(p->at[0]);
}

static bool is_open_under(const struct labels *p, const struct parent *parent) {
    struct labels q;
    split_labels(parent->name, strlen(parent->name), &q);
    size_t common = min_size(p->count, q.count);
    for (size_t i = 1; i <= common; i++)
        if (!may_meet(p->at[p->count - i], q.at[q.count - i]))
            return false;
    if (p->count < q.count)
        return p->many;
    if (p->count == q.count)
        return p->many ? parent->kind != HOST : may_be_parent(p, &q, parent->kind);
    switch (parent->kind) {
    case HOST:
        return false;
    case BUCKET:
        return p->many || owner_is_open(p->at[0], BUCKET);
    case SUFFIX:
    case OWNER:
        break;
    }
    return owner_is_open(p->at[p->count - q.count - 1], parent->kind);
}

// The label that a registrar sells must be literal, whatever stands before it.
static bool is_open_under_registry(const struct labels *p, size_t suffix_labels) {
    if (p->count == suffix_labels)
        return p->many;
    return p->count > suffix_labels && is_wild(p->at[p->count - suffix_labels - 1]);
}

static bool is_public_suffix_pattern(const struct labels *p) {
    struct label top = p->at[p->count - 1];
    if (is_wild(top))
        return true;
    if (label_in(top, PRIVATE_TOP, sizeof PRIVATE_TOP / sizeof *PRIVATE_TOP))
        return false;
    if (is_open_under_registry(p, 1))
        return true;
    bool country = top.len == 2 && p->count >= 2;
    if (!country || !label_in(p->at[p->count - 2], SECOND_LEVEL, sizeof SECOND_LEVEL / sizeof *SECOND_LEVEL))
        return false;
    return p->count == 2 || is_open_under_registry(p, 2);
}

// ACCOUNT.dkr.ecr.REGION.amazonaws.com holds registries, each with one owner: `check` warns of a wildcard there.
static bool is_ecr(const struct labels *p) {
    bool china = p->count >= 6 && label_is(p->at[p->count - 1], "cn");
    size_t n = p->count - (china ? 1 : 0);
    return n >= 5 && label_is(p->at[n - 1], "com") && label_is(p->at[n - 2], "amazonaws") &&
           label_is(p->at[n - 4], "ecr") && label_is(p->at[n - 5], "dkr");
}

static bool explain_suffix(const char *pattern, struct err *err) {
    err_set(err, "\"%s\" covers names that anyone can register; write the names below a domain of one owner", pattern);
    return true;
}

static bool explain_parent(const char *pattern, const struct parent *parent, struct err *err) {
    if (strchr(pattern, '*') == NULL)
        err_set(err, "\"%s\" serves content of strangers as well; name the host of one account or bucket", pattern);
    else
        err_set(err, "\"%s\" covers names that strangers can get under %s; name the account or bucket", pattern,
                parent->name);
    return true;
}

static size_t lower_host(const char *pattern, char out[HOST_MAX + 1]) {
    size_t len = 0;
    for (; pattern[len] != '\0' && pattern[len] != ':' && len < HOST_MAX; len++) {
        char c = pattern[len];
        out[len] = c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
    }
    out[len] = '\0';
    return len;
}

bool host_pattern_is_shared(const char *pattern, struct err *err) {
    char host[HOST_MAX + 1];
    size_t len = lower_host(pattern, host);
    struct labels p;
    if (len == 0 || pattern[0] == '[' || host_is_address(host) || !split_pattern(host, len, &p))
        return false;
    if (is_public_suffix_pattern(&p))
        return explain_suffix(pattern, err);
    if (is_ecr(&p))
        return false;
    for (size_t i = 0; i < sizeof PARENTS / sizeof *PARENTS; i++)
        if (is_open_under(&p, &PARENTS[i]))
            return explain_parent(pattern, &PARENTS[i], err);
    return false;
}
