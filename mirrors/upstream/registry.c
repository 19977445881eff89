// SPDX-License-Identifier: Apache-2.0
//
// What belongs to a registry: which credential is for which repository, and passwords from their files.
//
// A password is read whole or not at all: when the file cannot be read again, the one before stays in force. Memory
// that held a password is wiped before it is freed.

#include "mirrors/upstream/registry.h"

#include "mirrors/base/glob.h"
#include "mirrors/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PASSWORD_FILE_MAX = 64 * 1024 };

struct credential *registry_credential(const struct registry *r, const char *repository) {
    for (size_t i = 0; i < r->credential_count; i++) {
        const struct credential_use *use = &r->credentials[i];
        for (size_t k = 0; k < use->count; k++)
            if (glob_components(use->repositories[k], repository))
                return use->credential;
    }
    return NULL;
}

/// A file that only its owner can read or change, and that is no pipe or device.
static bool file_acceptable(const struct stat *st, struct err *err) {
    if (!S_ISREG(st->st_mode))
        return err_set(err, "is not a regular file");
    if (st->st_mode & 077)
        return err_set(err, "can be read or changed by others (mode %04o): chmod 600 it",
                       (unsigned)(st->st_mode & 07777));
    if (st->st_size > PASSWORD_FILE_MAX)
        return err_set(err, "is larger than %d bytes", PASSWORD_FILE_MAX);
    return true;
}

/// Read until the end or until `room` is full; -1 with errno on failure.
static ssize_t read_all(int fd, char *out, size_t room) {
    size_t len = 0;
    while (len < room) {
        ssize_t n = read(fd, out + len, room - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        len += (size_t)n;
    }
    return (ssize_t)len;
}

static size_t without_newlines(const char *text, size_t len) {
    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
        len--;
    return len;
}

/// The password in an open file as fresh memory; NULL with a sentence.
static char *read_password(int fd, struct err *err) {
    char *text = mem_alloc(PASSWORD_FILE_MAX + 1);
    char *password = NULL;
    ssize_t got = read_all(fd, text, PASSWORD_FILE_MAX + 1); // It may have grown since it was looked at.
    size_t len = got > 0 ? without_newlines(text, (size_t)got) : 0;
    if (got < 0)
        err_set(err, "cannot be read: %s", strerror(errno));
    else if (got > PASSWORD_FILE_MAX)
        err_set(err, "is larger than %d bytes", PASSWORD_FILE_MAX);
    else if (len == 0)
        err_set(err, "is empty");
    else if (memchr(text, '\0', len))
        err_set(err, "holds a NUL byte");
    else
        password = mem_strndup(text, len);
    explicit_bzero(text, PASSWORD_FILE_MAX + 1);
    free(text);
    return password;
}

static bool unchanged(const struct credential *c, const struct stat *st) {
    return c->password && c->mtime.tv_sec == st->st_mtim.tv_sec && c->mtime.tv_nsec == st->st_mtim.tv_nsec;
}

/// With the lock held and the file open.
static bool load_locked(struct credential *c, int fd, bool force, struct err *err) {
    struct stat st;
    if (fstat(fd, &st) != 0)
        return err_set(err, "cannot be read: %s", strerror(errno));
    if (!file_acceptable(&st, err))
        return false;
    if (!force && unchanged(c, &st))
        return true;
    char *password = read_password(fd, err);
    if (!password)
        return false;
    mem_wipe(c->password);
    c->password = password;
    c->mtime = st.st_mtim;
    return true;
}

bool credential_load(struct credential *c, bool force, struct err *err) {
    // Without O_NONBLOCK a named pipe would hold the caller until someone writes to it.
    int fd = open(c->password_file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return err_set(err, "credentials.\"%s\": %s cannot be opened: %s", c->name, c->password_file, strerror(errno));
    pthread_mutex_lock(&c->lock);
    bool ok = load_locked(c, fd, force, err);
    pthread_mutex_unlock(&c->lock);
    close(fd);
    return ok || err_prefix(err, "credentials.\"%s\": %s ", c->name, c->password_file);
}

char *credential_password(struct credential *c) {
    pthread_mutex_lock(&c->lock);
    char *copy = mem_strdup(c->password);
    pthread_mutex_unlock(&c->lock);
    return copy;
}

struct credential *credential_new(const char *name, const char *username, const char *password_file) {
    struct credential *c = mem_zalloc(1, sizeof *c);
    c->name = mem_strdup(name);
    c->username = mem_strdup(username);
    c->password_file = mem_strdup(password_file);
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

void credential_free(struct credential *c) {
    if (!c)
        return;
    mem_wipe(c->password);
    pthread_mutex_destroy(&c->lock);
    free(c->name);
    free(c->username);
    free(c->password_file);
    free(c);
}

static void free_strings(char **list, size_t count) {
    for (size_t i = 0; i < count; i++)
        free(list[i]);
    free(list);
}

void registry_free(struct registry *r) {
    if (!r)
        return;
    for (size_t i = 0; i < r->endpoint_count; i++) {
        free(r->endpoints[i].base);
        free(r->endpoints[i].path);
        free(r->endpoints[i].ca);
    }
    free(r->endpoints);
    for (size_t i = 0; i < r->credential_count; i++)
        free_strings(r->credentials[i].repositories, r->credentials[i].count);
    free(r->credentials);
    free_strings(r->realm_hosts, r->realm_host_count);
    free_strings(r->redirect_hosts, r->redirect_host_count);
    free_strings(r->shared_hosts, r->shared_host_count);
    free_strings(r->home_hosts, r->home_host_count);
    free_strings(r->external_urls, r->external_url_count);
    free_strings(r->aliases, r->alias_count);
    free_strings(r->resolve, r->resolve_count);
    free(r->private_addresses);
    free(r->name);
    free(r->ca);
    free(r->proxy);
    free(r->no_proxy);
    free(r);
}
