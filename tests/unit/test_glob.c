// SPDX-License-Identifier: Apache-2.0
//
// Patterns over repositories.

#include "mirrors/base/glob.h"

#include <criterion/criterion.h>
#include <string.h>

Test(glob, components) {
    static const struct {
        const char *pattern, *text;
        bool expected;
        const char *why;
    } rows[] = {
        {"a/b", "a/b", true, "the same"},
        {"a/b", "a/bc", false, "a prefix is no match"},
        {"a/b", "a", false, "the text ends first"},
        {"a", "a/b", false, "the pattern ends first"},
        {"a/b", "A/b", false, "case counts"},
        {"*", "a", true, "one component"},
        {"*", "a/b", false, "a star stays within its component"},
        {"a/*", "a/b", true, "a star as a component"},
        {"a/*", "a/b/c", false, "a star is one component"},
        {"a/*", "a", false, "a star is no absent component"},
        {"a/b*c/d", "a/bc/d", true, "a star may be nothing"},
        {"a/b*c/d", "a/bxcxc/d", true, "the star goes back"},
        {"a/b*c", "a/b/c", false, "a star never holds a slash"},
        {"*-*-*", "a-b-c", true, "several stars"},
        {"*-*-*", "a-b", false, "several stars, too little text"},
        {"**", "a", true, "everything"},
        {"**", "a/b/c", true, "everything"},
        {"a/**", "a/b", true, "one whole component"},
        {"a/**", "a/b/c/d", true, "several whole components"},
        {"a/**", "a", false, "not the parent itself"},
        {"a/**", "ab/c", false, "components, not prefixes"},
        {"**/d", "d", false, "at least one before"},
        {"**/d", "a/b/d", true, "several before"},
        {"a/**/d", "a/d", false, "at least one between"},
        {"a/**/d", "a/b/d/d", true, "the last d is the pattern's"},
        {"a/**/d", "a/b/d/e", false, "it must end there"},
        {"**/x/**/y", "a/x/b/x/c/y", true, "two of them"},
        {"a/**/b/**/c", "a/b/b/c", false, "two of them with too little between"},
        {"a/**/b/**/c", "a/b/b/b/c", true, "two of them with just enough"},
        {"**/**", "a", false, "two components at least"},
        {"**/**", "a/b/c", true, "two or more"},
        {"a**", "ab", true, "a double star beside a character is a star"},
        {"a**", "a/b", false, "and does not cross components"},
        {"a?c", "abc", false, "nothing else is special"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_expect_eq(glob_components(rows[i].pattern, rows[i].text), rows[i].expected, "%s: %s against %s", rows[i].why,
                     rows[i].pattern, rows[i].text);
}

Test(glob, time_is_bounded, .timeout = 5) {
    char pattern[512] = "", text[512] = "";
    for (int i = 0; i < 80; i++)
        strcat(pattern, "**/a/");
    for (int i = 0; i < 250; i++)
        strcat(text, "a/");
    strcat(text, "b");
    cr_expect_not(glob_components(pattern, text), "many double stars that nearly match");
    memset(text, 'a', 501);
    memset(pattern, 0, sizeof pattern);
    for (int i = 0; i < 200; i++)
        strcat(pattern, "*a");
    strcat(pattern, "b");
    cr_expect_not(glob_components(pattern, text), "many stars that nearly match");
}
