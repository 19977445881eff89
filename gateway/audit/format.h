// SPDX-License-Identifier: Apache-2.0
//
// How a record is written: one JSON line, or one readable line for a terminal.
//
// Private to the audit room. Pure; any thread. Nothing that a stranger sent reaches the output unescaped: JSON escapes
// it, the terminal form replaces whatever a terminal could act on.

#pragma once

#include "gateway/audit/audit.h"
#include "mirrors/base/buf.h"

enum audit_form { AUDIT_JSON, AUDIT_TERMINAL, AUDIT_TERMINAL_COLOUR };

/// The longest line: every string escaped to six bytes a byte.
enum { AUDIT_LINE_MAX = 512 * 1024 };

/// Append one line, newline included.
void audit_format_line(struct buf *out, const struct audit_record *r, const char *gateway, int64_t now_ms,
                       enum audit_form form);

/// How many bytes of `s` are kept: at most AUDIT_FIELD_MAX, never ending inside a UTF-8 character. NULL: 0.
size_t audit_kept(const char *s);
