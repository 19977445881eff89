// SPDX-License-Identifier: Apache-2.0
//
// Values that occur in more than one object: durations, sizes, names, lines, paths, moments. See reader.h.

#include "gateway/config/reader.h"

#include "gateway/denial/denial.h"
#include "mirrors/base/buf.h"
#include "mirrors/base/mem.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

// --- numbers ---

struct unit {
    const char *name;
    uint64_t factor;
};

static void store(const struct read_key *key, void *into, uint64_t value) {
    char *field = (char *)into + key->offset;
    unsigned small = (unsigned)value;
    size_t large = (size_t)value;
    assert(key->width == sizeof small || key->width == sizeof large);
    if (key->width == sizeof small)
        memcpy(field, &small, sizeof small);
    else
        memcpy(field, &large, sizeof large);
}

/// Digits and a unit, nothing else; false also when the number is absurd.
static bool parse_with_unit(const char *text, const struct unit *units, uint64_t *out) {
    uint64_t n = 0;
    const char *p = text;
    for (; isdigit((unsigned char)*p); p++) {
        if (n > UINT32_MAX)
            return false;
        n = n * 10 + (uint64_t)(*p - '0');
    }
    if (p == text)
        return false;
    for (; units->name != NULL; units++) {
        if (strcmp(units->name, p) != 0)
            continue;
        return !__builtin_mul_overflow(n, units->factor, out);
    }
    return false;
}

/// The largest unit in which the value is a whole number: bounds read as a person writes them.
static char *format_with_unit(uint64_t value, const struct unit *units) {
    const struct unit *best = &units[0];
    for (const struct unit *u = units; u->name != NULL; u++)
        if (value != 0 && value % u->factor == 0)
            best = u;
    return mem_printf("%llu%s", (unsigned long long)(value / best->factor), best->name);
}

static bool read_with_unit(struct reader *r, const struct read_key *key, const struct json *value, void *into,
                           const struct unit *units) {
    uint64_t n = 0;
    if (!parse_with_unit(value->string, units, &n))
        return read_fail(r, "expected %s, found \"%.40s\"", key->expected, value->string);
    if (n < key->least || n > key->most) {
        char *least = format_with_unit(key->least, units), *most = format_with_unit(key->most, units);
        read_fail(r, "expected at least %s and at most %s, found \"%.40s\"", least, most, value->string);
        free(least);
        free(most);
        return false;
    }
    store(key, into, n);
    return true;
}

bool read_duration(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    static const struct unit units[] = {{"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}, {NULL, 0}};
    return read_with_unit(r, key, value, into, units);
}

static const struct unit size_units[] = {{"B", 1},         {"KiB", 1 << 10},           {"MiB", 1 << 20},
                                         {"GiB", 1 << 30}, {"TiB", (uint64_t)1 << 40}, {NULL, 0}};

bool read_size(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    return read_with_unit(r, key, value, into, size_units);
}

bool size_parse(const char *text, uint64_t *out) {
    return parse_with_unit(text, size_units, out);
}

bool read_count(struct reader *r, const struct read_key *key, const struct json *value, void *into) {
    if (!value->is_integer)
        return read_fail(r, "expected a whole number");
    if (value->integer < 0 || (uint64_t)value->integer < key->least || (uint64_t)value->integer > key->most)
        return read_fail(r, "expected at least %llu and at most %llu, found %lld", (unsigned long long)key->least,
                         (unsigned long long)key->most, (long long)value->integer);
    store(key, into, (uint64_t)value->integer);
    return true;
}

// --- text ---

static void replace(char **out, char *fresh) {
    free(*out);
    *out = fresh;
}

static bool is_one_line(const char *s) {
    for (; *s != '\0'; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            return false;
    return true;
}

bool read_line(struct reader *r, const struct json *value, size_t max, char **out) {
    if (value->type != JSON_STRING)
        return read_expected(r, "a string", value);
    if (value->string_len == 0 || value->string_len > max || !is_one_line(value->string))
        return read_fail(r, "expected one line of 1 to %zu bytes", max);
    replace(out, mem_strdup(value->string));
    return true;
}

bool read_name(struct reader *r, const struct json *value, char **out) {
    static const char marks[] = "._:/-[] ";
    if (!read_line(r, value, READER_NAME_MAX, out))
        return false;
    const char *s = *out;
    for (; *s != '\0'; s++)
        if (!isalnum((unsigned char)*s) && strchr(marks, *s) == NULL)
            return read_fail(r, "expected letters, digits, spaces and ._:/-[], found \"%.128s\"", *out);
    if ((*out)[0] == ' ' || s[-1] == ' ')
        return read_fail(r, "expected no space at the ends, found \"%.128s\"", *out);
    return true;
}

bool read_word(struct reader *r, const struct json *value, const char *const *words, int *out) {
    size_t count = 0;
    for (; words[count] != NULL; count++) {
        if (value->type != JSON_STRING || strcmp(value->string, words[count]) != 0)
            continue;
        *out = (int)count;
        return true;
    }
    struct buf all;
    buf_init(&all, READER_LINE_MAX);
    for (size_t i = 0; i < count; i++)
        buf_addf(&all, "%s\"%s\"", i == 0 ? "" : i + 1 == count ? " or " : ", ", words[i]);
    if (value->type == JSON_STRING)
        read_fail(r, "expected %s, found \"%.40s\"", all.data, value->string);
    else
        read_expected(r, all.data, value);
    buf_deinit(&all);
    return false;
}

bool read_message(struct reader *r, const struct json *value, char **out) {
    if (value->type != JSON_STRING)
        return read_expected(r, "a string", value);
    if (!denial_template_valid(value->string, r->err))
        return read_fail_again(r);
    replace(out, mem_strdup(value->string));
    return true;
}

// --- files ---

bool read_path(struct reader *r, const struct json *value, char **out) {
    if (value->type != JSON_STRING)
        return read_expected(r, "a path", value);
    if (value->string_len == 0 || value->string_len >= PATH_MAX)
        return read_fail(r, "expected a path");
    bool absolute = value->string[0] == '/' || r->dir == NULL;
    replace(out, absolute ? mem_strdup(value->string) : mem_printf("%s/%s", r->dir, value->string));
    return true;
}

static bool check_opened(struct reader *r, int fd, const char *path, enum file_kind kind) {
    struct stat st;
    if (fstat(fd, &st) != 0)
        return read_fail(r, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return read_fail(r, "%s: expected a file", path);
    if (kind == FILE_SECRET && (st.st_mode & S_IRWXO) != 0)
        return read_fail(r, "%s: others can read this secret file; expected mode 0600 (or 0640), found %04o", path,
                         (unsigned)(st.st_mode & 07777));
    return true;
}

static bool holds_certificate(int fd) {
    BIO *bio = BIO_new_fd(fd, BIO_NOCLOSE);
    X509 *certificate = bio != NULL ? PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL) : NULL;
    bool found = certificate != NULL;
    X509_free(certificate);
    BIO_free(bio);
    ERR_clear_error();
    return found;
}

bool read_check_file(struct reader *r, const char *path, enum file_kind kind) {
    if (r->dir == NULL)
        return true;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return read_fail(r, "%s: %s", path, strerror(errno));
    bool ok =
        check_opened(r, fd, path, kind) && (kind != FILE_CERTIFICATES || holds_certificate(fd) ||
                                            read_fail(r, "%s: expected at least one certificate in PEM form", path));
    close(fd);
    return ok;
}

// --- moments ---

/// Exactly `digits` digits at *p, which moves on; -1 otherwise.
static int number_at(const char **p, int digits) {
    int n = 0;
    for (int i = 0; i < digits; i++, (*p)++) {
        if (!isdigit((unsigned char)**p))
            return -1;
        n = n * 10 + (**p - '0');
    }
    return n;
}

static bool mark_at(const char **p, const char *either) {
    if (**p == '\0' || strchr(either, **p) == NULL)
        return false;
    (*p)++;
    return true;
}

static int days_in_month(int year, int month) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap ? 1 : 0);
}

static void skip_fraction(const char **p) {
    if (**p != '.' || !isdigit((unsigned char)(*p)[1]))
        return;
    (*p)++;
    while (isdigit((unsigned char)**p))
        (*p)++;
}

static bool zone_at(const char **p, int *seconds) {
    *seconds = 0;
    if (mark_at(p, "Zz"))
        return true;
    int sign = **p == '-' ? -1 : 1;
    if (!mark_at(p, "+-"))
        return false;
    int hours = number_at(p, 2);
    if (hours < 0 || hours > 23 || !mark_at(p, ":"))
        return false;
    int minutes = number_at(p, 2);
    *seconds = sign * (hours * 3600 + minutes * 60);
    return minutes >= 0 && minutes <= 59;
}

bool time_parse(const char *text, int64_t *out) {
    struct tm tm = {0};
    const char *p = text;
    int zone = 0, year = number_at(&p, 4);
    if (year < 1970 || !mark_at(&p, "-"))
        return false;
    int month = number_at(&p, 2);
    if (month < 1 || month > 12 || !mark_at(&p, "-"))
        return false;
    tm.tm_mday = number_at(&p, 2);
    if (tm.tm_mday < 1 || tm.tm_mday > days_in_month(year, month) || !mark_at(&p, "Tt "))
        return false;
    tm.tm_hour = number_at(&p, 2);
    if (tm.tm_hour < 0 || tm.tm_hour > 23 || !mark_at(&p, ":"))
        return false;
    tm.tm_min = number_at(&p, 2);
    if (tm.tm_min < 0 || tm.tm_min > 59 || !mark_at(&p, ":"))
        return false;
    tm.tm_sec = number_at(&p, 2);
    if (tm.tm_sec < 0 || tm.tm_sec > 60)
        return false;
    skip_fraction(&p);
    if (!zone_at(&p, &zone) || *p != '\0')
        return false;
    tm.tm_year = year - 1900;
    tm.tm_mon = month - 1;
    *out = (int64_t)timegm(&tm) - zone;
    return true;
}
