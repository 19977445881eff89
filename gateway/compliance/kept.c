// SPDX-License-Identifier: Apache-2.0
//
// One kept report, and the file of them all: a JSON object a line.
//
// The file is the gateway's own, and read like a stranger's: whoever could write there could as well have damaged it.

#include "gateway/compliance/kept.h"

#include "certs/state.h"
#include "mirrors/base/buf.h"
#include "mirrors/base/json.h"
#include "mirrors/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// --- one ---

struct kept *kept_new(const char *name, const char *address, struct told *told, int64_t received) {
    struct kept *k = mem_zalloc(1, sizeof *k);
    k->refs = 1;
    k->verified = name != NULL;
    k->name = name != NULL ? mem_strdup(name)
                           : mem_printf("%s%s%s", address, told->machine_id[0] != '\0' ? " " : "", told->machine_id);
    k->address = mem_strdup(address);
    k->received = received;
    k->told = told;
    return k;
}

void kept_free(struct kept *k) {
    told_free(k->told);
    free(k->name);
    free(k->address);
    free(k);
}

// --- writing ---

static bool write_line(FILE *f, const struct kept *k) {
    struct buf line;
    buf_init(&line, KEPT_LINE_MAX);
    buf_adds(&line, "{");
    if (k->verified) {
        buf_adds(&line, "\"name\":");
        buf_add_json(&line, k->name, strlen(k->name));
        buf_adds(&line, ",");
    }
    buf_adds(&line, "\"address\":");
    buf_add_json(&line, k->address, strlen(k->address));
    buf_addf(&line, ",\"received\":%lld,\"report\":", (long long)k->received);
    buf_add(&line, k->told->text, k->told->len);
    buf_adds(&line, "}\n");
    bool ok = line.overflow || fwrite(line.data, 1, line.len, f) == line.len; // A name of kilobytes is left out.
    buf_deinit(&line);
    return ok;
}

static bool write_all(FILE *f, struct kept *const *list, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!write_line(f, list[i]))
            return false;
    return fflush(f) == 0 && fsync(fileno(f)) == 0;
}

static bool write_aside(char *template, struct kept *const *list, size_t count) {
    int fd = mkostemp(template, O_CLOEXEC); // 0600
    FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (f == NULL) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    bool ok = write_all(f, list, count);
    int why = errno;
    ok = fclose(f) == 0 && ok;
    errno = ok ? 0 : why;
    return ok;
}

static void sync_directory(const char *directory) {
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    fsync(fd);
    close(fd);
}

/// Several gateways may share the directory: each writes aside under a name of its own.
bool kept_write(const char *directory, struct kept *const *list, size_t count, struct err *err) {
    if (state_directory(directory, true, err) != STATE_OK)
        return false;
    char *path = mem_printf("%s/" REPORTS_FILE, directory),
         *aside = mem_printf("%s/." REPORTS_FILE ".XXXXXX", directory);
    bool ok = write_aside(aside, list, count) && rename(aside, path) == 0;
    if (ok) {
        sync_directory(directory);
    } else {
        err_set(err, "%s: %s", path, strerror(errno));
        unlink(aside);
    }
    free(path);
    free(aside);
    return ok;
}

// --- reading ---

static struct kept *of_json(const struct json *root, const char *text, size_t len) {
    static const char mark[] = "\"report\":";
    const char *address = json_get_string(root, "address"), *name = json_get_string(root, "name");
    const struct json *received = json_get(root, "received");
    const char *at = memmem(text, len, mark, sizeof mark - 1);
    if (address == NULL || received == NULL || !received->is_integer || received->integer < 0 || at == NULL ||
        text[len - 1] != '}')
        return NULL;
    at += sizeof mark - 1;
    struct told *told = told_parse(at, len - 1 - (size_t)(at - text), NULL);
    return told != NULL ? kept_new(name, address, told, received->integer) : NULL;
}

static struct kept *of_line(const char *text, size_t len) {
    struct json *root = len <= KEPT_LINE_MAX ? json_parse(text, len, JSON_STRICT, NULL) : NULL;
    struct kept *k = root != NULL ? of_json(root, text, len) : NULL;
    json_free(root);
    return k;
}

/// How many lines could not be read.
static size_t read_lines(FILE *f, void (*visit)(void *ctx, struct kept *k), void *ctx) {
    char *line = NULL;
    size_t room = 0, lost = 0;
    for (ssize_t len; (len = getline(&line, &room, f)) > 0;) {
        if (line[len - 1] == '\n')
            len--;
        struct kept *k = len > 0 ? of_line(line, (size_t)len) : NULL;
        if (k != NULL)
            visit(ctx, k);
        lost += k == NULL;
    }
    free(line);
    return lost;
}

static bool read_file(FILE *f, const char *path, void (*visit)(void *ctx, struct kept *k), void *ctx, struct err *err) {
    struct stat st;
    if (fstat(fileno(f), &st) != 0 || !S_ISREG(st.st_mode) || st.st_size > KEPT_FILE_MAX)
        return err_set(err, "%s: no file that this gateway wrote", path);
    size_t lost = read_lines(f, visit, ctx);
    return lost == 0 || err_set(err, "%s: %zu of its lines could not be read", path, lost);
}

bool kept_read(const char *directory, void (*visit)(void *ctx, struct kept *k), void *ctx, struct err *err) {
    char *path = mem_printf("%s/" REPORTS_FILE, directory);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    FILE *f = fd >= 0 ? fdopen(fd, "r") : NULL;
    bool ok = true;
    if (f != NULL)
        ok = read_file(f, path, visit, ctx, err);
    else if (errno != ENOENT && errno != ENOTDIR)
        ok = err_set(err, "%s: %s", path, strerror(errno));
    if (f != NULL)
        fclose(f);
    free(path);
    return ok;
}
