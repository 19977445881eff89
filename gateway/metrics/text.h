// SPDX-License-Identifier: Apache-2.0
//
// Writing the text format of Prometheus, version 0.0.4. Pure.
//
// https://prometheus.io/docs/instrumenting/exposition_formats/: the samples of a family follow its HELP and TYPE lines
// and stand together. Label values are strings from strangers: escaped, and valid UTF-8 whatever they were.

#pragma once

#include "mirrors/base/buf.h"

#include <stdint.h>

/// A list of them ends with a name NULL; a list NULL is empty.
struct text_label {
    const char *name, *value;
};

/// How many digits of a value stand behind the point: 3 makes seconds of milliseconds.
enum text_unit { TEXT_WHOLE = 0, TEXT_MILLI = 3, TEXT_MICRO = 6 };

/// `type`: "counter", "gauge" or "histogram". `help` is one line of ours.
void text_family(struct buf *b, const char *name, const char *type, const char *help);

void text_sample(struct buf *b, const char *name, const struct text_label *labels, uint64_t value, enum text_unit unit);

/// A family of a single sample without labels.
void text_single(struct buf *b, const char *name, const char *type, const char *help, uint64_t value,
                 enum text_unit unit);
