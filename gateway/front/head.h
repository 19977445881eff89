// SPDX-License-Identifier: Apache-2.0
//
// Request heads that libh2o's parser lets through and a gateway must not: two framings, two hosts, folded lines, and
// heads over the bound. Pure; any thread.

#pragma once

#include <stddef.h>

enum head_fault {
    HEAD_OK,
    HEAD_TOO_LARGE,
    HEAD_FOLDED,  ///< A line that goes on on the next one.
    HEAD_FRAMING, ///< More than one Content-Length or Transfer-Encoding: where the body ends is a matter of taste.
    HEAD_HOST     ///< More than one Host, or none in HTTP/1.1.
};

/// Judge the head at the start of `bytes`, which libh2o has parsed: it is whole, and its lines are names and values.
/// What follows it is not looked at.
enum head_fault head_judge(const char *bytes, size_t len, size_t max);
