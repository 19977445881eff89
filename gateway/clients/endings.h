// SPDX-License-Identifier: Apache-2.0
//
// The ends of host names that registries have: what a client's wildcards are made from where it knows no "everything".

#pragma once

/// Top-level domains, separated by single spaces: all of the countries', and those of the others under which there are
/// registries, or under which people host their own things.
extern const char endings[];
