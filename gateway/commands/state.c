// SPDX-License-Identifier: Apache-2.0
//
// `pullgate state`: carry the state directory to another machine, as a tar that only its owner can read.

#include "gateway/commands/commands.h"

#include "certs/state.h"
#include "gateway/config/config.h"
#include "mirrors/base/mem.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STATE_FILES_MAX = 1000, TAR_BLOCK = 10240 };

static const char help[] =
    "Usage: pullgate state export|import FILE [--config FILE]\n"
    "\n"
    "Carry what must not be lost (the authority, the keys of tokens, revocations) to another machine or into a "
    "backup.\n"
    "\n"
    "  export FILE     write the state directory into a new tar, mode 0600; it holds private keys: keep it like one\n"
    "  import FILE     put such a tar into the state directory; files that are there stay, and end the import\n"
    "      --replace   overwrite them\n"
    "\n"
    "  --config FILE   the configuration that the gateway runs with\n"
    "\n"
    "A gateway that is running uses what was imported after a restart.\n"
    "\n"
    "Exit status: 0 done, 1 it could not be done, 2 options or the configuration are not usable.\n";

/// Names of ours only: nothing with a slash, nothing hidden (files on their way are).
static bool is_state_name(const char *name) {
    return name[0] != '.' && name[0] != '\0' && strlen(name) <= 255 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == strlen(name);
}

static bool tar_fail(struct archive *tar, const char *path, struct err *err) {
    const char *why = archive_error_string(tar);
    return err_set(err, "%s: %s", path, why != NULL ? why : "not a tar");
}

// --- export ---

static bool put_file(struct archive *tar, const char *name, const char *data, size_t len, bool secret) {
    struct archive_entry *e = archive_entry_new();
    archive_entry_set_pathname(e, name);
    archive_entry_set_filetype(e, AE_IFREG);
    archive_entry_set_perm(e, secret ? 0600 : 0644);
    archive_entry_set_size(e, (la_int64_t)len);
    archive_entry_set_mtime(e, 0, 0);
    bool ok = archive_write_header(tar, e) == ARCHIVE_OK && archive_write_data(tar, data, len) == (la_ssize_t)len;
    archive_entry_free(e);
    return ok;
}

static bool export_one(struct archive *tar, const char *directory, int folder, const char *name, const char *path,
                       struct err *err) {
    struct stat st;
    char *data = NULL;
    size_t len = 0;
    if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode) || !is_state_name(name))
        return true;
    bool secret = (st.st_mode & (S_IRWXG | S_IRWXO)) == 0;
    if (state_read(directory, name, secret, &data, &len, err) != STATE_OK)
        return false;
    bool ok = put_file(tar, name, data, len, secret) || tar_fail(tar, path, err);
    state_free(data, len);
    return ok;
}

static bool export_all(struct archive *tar, const char *directory, const char *path, struct err *err) {
    DIR *d = opendir(directory);
    bool ok = d != NULL || err_set(err, "%s: %s", directory, strerror(errno));
    for (const struct dirent *e; ok && (e = readdir(d)) != NULL;)
        ok = export_one(tar, directory, dirfd(d), e->d_name, path, err);
    if (d != NULL)
        closedir(d);
    return ok;
}

static bool export_to(const char *directory, const char *path, struct err *err) {
    if (state_directory(directory, false, err) != STATE_OK)
        return false;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set(err, "%s: %s", path, strerror(errno));
    struct archive *tar = archive_write_new();
    archive_write_set_format_pax_restricted(tar);
    bool ok = archive_write_open_fd(tar, fd) == ARCHIVE_OK || tar_fail(tar, path, err);
    ok = ok && export_all(tar, directory, path, err) &&
         (archive_write_close(tar) == ARCHIVE_OK || tar_fail(tar, path, err));
    archive_write_free(tar);
    ok = ok && (fsync(fd) == 0 || err_set(err, "%s: %s", path, strerror(errno)));
    close(fd);
    if (!ok)
        unlink(path);
    return ok;
}

// --- import ---

static bool import_one(struct archive *tar, struct archive_entry *e, const char *directory, bool replace,
                       struct err *err) {
    const char *name = archive_entry_pathname(e);
    la_int64_t size = archive_entry_size(e);
    if (name == NULL || !is_state_name(name) || archive_entry_filetype(e) != AE_IFREG || size < 0 ||
        size > STATE_FILE_MAX)
        return err_set(err, "there is something in it that `state export` does not write: %.80s",
                       name != NULL ? name : "a file without a name");
    char *data = mem_alloc((size_t)size + 1);
    bool ok = archive_read_data(tar, data, (size_t)size) == (la_ssize_t)size || err_set(err, "%s: cut short", name);
    bool secret = (archive_entry_perm(e) & (S_IRWXG | S_IRWXO)) == 0;
    enum state_result result =
        ok ? state_write(directory, name, data, (size_t)size, secret, replace, err) : STATE_FAILED;
    state_free(data, (size_t)size);
    if (result == STATE_MISSING)
        err_set(err, "%s/%s is there already (--replace overwrites it)", directory, name);
    return result == STATE_OK;
}

static bool import_all(struct archive *tar, const char *directory, const char *path, bool replace, struct err *err) {
    struct archive_entry *e;
    int result, count = 0;
    while ((result = archive_read_next_header(tar, &e)) == ARCHIVE_OK) {
        if (++count > STATE_FILES_MAX)
            return err_set(err, "%s: over %d files", path, STATE_FILES_MAX);
        if (!import_one(tar, e, directory, replace, err))
            return err_prefix(err, "%s: ", path);
    }
    return result == ARCHIVE_EOF ? count > 0 || err_set(err, "%s: there is nothing in it", path)
                                 : tar_fail(tar, path, err);
}

static bool import_from(const char *directory, const char *path, bool replace, struct err *err) {
    if (state_directory(directory, true, err) != STATE_OK)
        return false;
    struct archive *tar = archive_read_new();
    archive_read_support_format_tar(tar);
    bool ok = archive_read_open_filename(tar, path, TAR_BLOCK) == ARCHIVE_OK
                  ? import_all(tar, directory, path, replace, err)
                  : tar_fail(tar, path, err);
    archive_read_free(tar);
    return ok;
}

// --- which ---

static int run(const char *config, const char *command, const char *path, bool replace) {
    struct err err;
    struct config *c = config_load(config, NULL, &err);
    if (c == NULL) {
        fprintf(stderr, "pullgate: %s\n", err.text);
        return EXIT_UNUSABLE;
    }
    bool ok;
    if (c->state_directory == NULL)
        ok = err_set(&err, "there is no state directory: write \"state_directory\"");
    else
        ok = strcmp(command, "export") == 0 ? export_to(c->state_directory, path, &err)
                                            : import_from(c->state_directory, path, replace, &err);
    config_unref(c);
    if (!ok)
        fprintf(stderr, "pullgate state: %s\n", err.text);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

int command_state(int argc, char **argv) {
    static const struct option known[] = {{"config", required_argument, NULL, 'c'},
                                          {"replace", no_argument, NULL, 'r'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    const char *config = NULL;
    bool replace = false;
    for (int option; (option = getopt_long(argc, argv, "c:h", known, NULL)) != -1;) {
        if (option == 'h') {
            fputs(help, stdout);
            return EXIT_SUCCESS;
        }
        if (option == 'c')
            config = optarg;
        else if (option == 'r')
            replace = true;
        else
            return command_usage("state");
    }
    bool known_word =
        argc - optind == 2 && (strcmp(argv[optind], "export") == 0 || strcmp(argv[optind], "import") == 0);
    return known_word ? run(config, argv[optind], argv[optind + 1], replace) : command_usage("state");
}
