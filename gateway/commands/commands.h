// SPDX-License-Identifier: Apache-2.0
//
// The subcommands of the program. Each gets its own name as argv[0], prints its own help for --help, and returns the
// process's exit status.

#pragma once

/// What stands for "unusable" in every command: a bad option, file or name.
enum { EXIT_UNUSABLE = 2 };

int command_serve(int argc, char **argv);
int command_reload(int argc, char **argv);
int command_check(int argc, char **argv);
int command_explain(int argc, char **argv);
int command_store(int argc, char **argv);
int command_ca(int argc, char **argv);
int command_state(int argc, char **argv);
int command_token(int argc, char **argv);
int command_client(int argc, char **argv);
int command_compliance(int argc, char **argv);
int command_doctor(int argc, char **argv);
int command_version(int argc, char **argv);

/// A sentence on standard error and EXIT_UNUSABLE, for options that a command does not know.
int command_usage(const char *command);

/// For a command whose only options are --config FILE and --help: read them and `run` it with FILE (NULL: not given).
int command_with_config(int argc, char **argv, const char *help, int (*run)(const char *config));
