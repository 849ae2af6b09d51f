/* The verbs of the `netpool` command and what they share: exit codes, messages, options. */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/netpool_status.h"

enum {
    CLI_DONE = 0,
    CLI_TASK_FAILED = 1, /* a task failed, or a result could not be written */
    CLI_USAGE = 2,       /* wrong options, URL, FILE or module: nothing was done */
    CLI_POOL = 3         /* the pool is unreachable or refused this program */
};

/* argv[0] is the verb. They return the exit status. */
int map_command(int argc, char **argv);
int up_command(int argc, char **argv);
int status_command(int argc, char **argv);

/* Texts of --help, one section an element, NULL at the end. */
extern const char *const help_netpool[];
extern const char *const help_map[];
extern const char *const help_up[];
extern const char *const help_status[];

/* Prints the sections to standard output. Returns CLI_DONE, or CLI_TASK_FAILED when they cannot be written. */
int help_print(const char *const sections[]);

/* One line on standard error, "netpool: ...", control characters replaced; one write, so lines never mix. */
void complain(const char *format, ...) NETPOOL_PRINTF(1, 2);

/* The same with a pointer to --help at the end. Returns CLI_USAGE. */
int complain_usage(const char *verb, const char *format, ...) NETPOOL_PRINTF(2, 3);

/* Complains about a pool that cannot be opened and returns the exit status for it. */
int complain_pool(const netpool_error *error);
int exit_code_of(netpool_status status);

/* getopt_long with our own messages: the next option's value, -1 at the end, '?' after a complaint. Start each verb
 * with optind 0 or 1. short_options without a leading '+' or ':' unless the first operand ends the options ('+'). */
int next_option(int argc, char **argv, const char *short_options, const struct option *options);

/* A decimal number from lowest to highest; complains otherwise. */
bool parse_count(const char *verb, const char *option, const char *text, uint64_t lowest, uint64_t highest,
                 uint64_t *out);

#endif
