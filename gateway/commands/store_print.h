// SPDX-License-Identifier: Apache-2.0
//
// What `pullgate store` prints of the lines that its work answers with: tables, a progress bar where standard error is
// a terminal, or the lines themselves.

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { STORE_PRINT_WHAT_MAX = 60 };

struct store_printer {
    const char *command;
    bool json;
    bool bar;      ///< Standard error is a terminal.
    bool bar_open; ///< A bar stands on the current line.
    bool head;     ///< The table's head was printed.
    bool ended, ok;
    bool unusable;   ///< What was asked for was not worded as it has to be.
    int64_t last_ms; ///< When the bar was drawn.
};

void store_print_begin(struct store_printer *p, const char *command, bool json);

/// Print one line (JSON). `ctx` is a struct store_printer. False: standard output takes no more.
bool store_print(void *ctx, const char *line);

/// Was it ended, and well?
bool store_print_end(struct store_printer *p);
