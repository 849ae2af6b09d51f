#include "cli/ca/ca_command.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/ca/authority.h"
#include "cli/ca/ca_help.h"
#include "cli/ca/ca_show.h"
#include "proto/message.h"

enum { DONE = 0, FAILED = 1, USAGE = 2 };

#define HOSTS_MAX 64

struct arguments {
    const char *path; /* DIR or FILE */
    const char *pool;
    const char *name;
    Np__Role role;
    uint64_t serial;
    const char *hosts[HOSTS_MAX];
    size_t host_count;
    struct ca_terms terms;
    bool wants_help;
};

static int usage(const char *verb, const char *what, const char *word)
{
    fprintf(stderr, "netpool ca %s: %s%s%s (see netpool ca %s --help)\n", verb, what, word[0] == '\0' ? "" : " ",
            word, verb);
    return USAGE;
}

static int finish(const char *verb, netpool_status status, const netpool_error *error)
{
    if (status == NETPOOL_OK && (fflush(stdout) != 0 || ferror(stdout) != 0)) {
        fprintf(stderr, "netpool ca %s: cannot write to standard output: %s\n", verb, strerror(errno));
        return FAILED;
    }
    if (status != NETPOOL_OK) {
        fprintf(stderr, "netpool ca %s: %s\n", verb, error->message);
    }
    return status == NETPOOL_OK ? DONE : status == NETPOOL_INVALID ? USAGE : FAILED;
}

static int run_init(const struct arguments *arguments)
{
    netpool_error error = {0};
    const char *pool = arguments->pool == NULL ? "default" : arguments->pool;
    netpool_status status = ca_init_with(arguments->path, pool, &arguments->terms, &error);
    if (status == NETPOOL_OK) {
        printf("CA of pool %s: %s/ca.pem, key in %s/ca.key, revocation list in %s/crl.pem\n", pool, arguments->path,
               arguments->path, arguments->path);
    }
    return finish("init", status, &error);
}

static int run_issue(const struct arguments *arguments)
{
    if (arguments->role == NP__ROLE__NONE) {
        return usage("issue", "--role is missing", "");
    }
    if (arguments->name == NULL) {
        return usage("issue", "--name is missing", "");
    }
    netpool_error error = {0};
    netpool_status status = ca_issue_with(arguments->path, arguments->role, arguments->name, arguments->hosts,
                                          arguments->host_count, &arguments->terms, &error);
    if (status == NETPOOL_OK) {
        const char *role = np_role_name(arguments->role);
        printf("%s %s: %s/%s-%s.pem, key in %s/%s-%s.key\n", role, arguments->name, arguments->path, role,
               arguments->name, arguments->path, role, arguments->name);
    }
    return finish("issue", status, &error);
}

static int run_revoke(const struct arguments *arguments)
{
    if ((arguments->serial == 0) == (arguments->name == NULL)) {
        return usage("revoke", "give either --name or --serial", "");
    }
    netpool_error error = {0};
    size_t count;
    struct ca_selection selection = {.serial = arguments->serial, .name = arguments->name, .role = arguments->role};
    netpool_status status = ca_revoke(arguments->path, &selection, &arguments->terms, &count, &error);
    if (status == NETPOOL_OK) {
        if (count == 0) {
            printf("revoked already; the list was renewed");
        } else {
            printf("%zu certificate%s revoked", count, count == 1 ? "" : "s");
        }
        printf("; give %s/crl.pem to the brokers and reload them\n", arguments->path);
    }
    return finish("revoke", status, &error);
}

static int run_crl(const struct arguments *arguments)
{
    netpool_error error = {0};
    netpool_status status = ca_renew_crl(arguments->path, &arguments->terms, &error);
    if (status == NETPOOL_OK) {
        printf("revocation list renewed: %s/crl.pem\n", arguments->path);
    }
    return finish("crl", status, &error);
}

static int run_show(const struct arguments *arguments)
{
    netpool_error error = {0};
    return finish("show", ca_show(arguments->path, &error), &error);
}

enum option_code { POOL = 256, NAME, ROLE, SERIAL, HOST, DAYS, CRL_DAYS, FORCE, HELP };

static const struct option options_init[] = {{"pool", required_argument, NULL, POOL},
                                             {"days", required_argument, NULL, DAYS},
                                             {"crl-days", required_argument, NULL, CRL_DAYS},
                                             {"help", no_argument, NULL, HELP},
                                             {0}};
static const struct option options_issue[] = {{"role", required_argument, NULL, ROLE},
                                              {"name", required_argument, NULL, NAME},
                                              {"host", required_argument, NULL, HOST},
                                              {"days", required_argument, NULL, DAYS},
                                              {"force", no_argument, NULL, FORCE},
                                              {"help", no_argument, NULL, HELP},
                                              {0}};
static const struct option options_revoke[] = {
    {"name", required_argument, NULL, NAME},     {"role", required_argument, NULL, ROLE},
    {"serial", required_argument, NULL, SERIAL}, {"crl-days", required_argument, NULL, CRL_DAYS},
    {"help", no_argument, NULL, HELP},           {0}};
static const struct option options_crl[] = {
    {"crl-days", required_argument, NULL, CRL_DAYS}, {"help", no_argument, NULL, HELP}, {0}};
static const struct option options_show[] = {{"help", no_argument, NULL, HELP}, {0}};

static const struct {
    const char *name;
    const struct option *options;
    int (*run)(const struct arguments *arguments);
} verbs[] = {
    {"init", options_init, run_init}, {"issue", options_issue, run_issue}, {"revoke", options_revoke, run_revoke},
    {"crl", options_crl, run_crl},    {"show", options_show, run_show},
};

static bool parse_days(unsigned *out, const char *text)
{
    char *end;
    errno = 0;
    unsigned long days = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || days == 0 || days > CA_DAYS_MAX) {
        return false;
    }
    *out = (unsigned)days;
    return true;
}

/* Hexadecimal, with or without 0x, as `ca show` and openssl print it. */
static bool parse_serial(uint64_t *out, const char *text)
{
    if (strncmp(text, "0x", 2) == 0) {
        text += 2;
    }
    size_t length = strlen(text);
    if (length == 0 || length > 16 || strspn(text, "0123456789abcdefABCDEF") != length) {
        return false;
    }
    *out = strtoull(text, NULL, 16);
    return *out != 0;
}

static bool take_option(struct arguments *arguments, int option, const char *value)
{
    switch (option) {
    case POOL:
        arguments->pool = value;
        return true;
    case NAME:
        arguments->name = value;
        return true;
    case ROLE:
        return np_role_parse(&arguments->role, value);
    case SERIAL:
        return parse_serial(&arguments->serial, value);
    case HOST:
        if (arguments->host_count == HOSTS_MAX) {
            return false;
        }
        arguments->hosts[arguments->host_count++] = value;
        return true;
    case DAYS:
        return parse_days(&arguments->terms.days, value);
    case CRL_DAYS:
        return parse_days(&arguments->terms.crl_days, value);
    case FORCE:
        arguments->terms.replace = true;
        return true;
    default:
        arguments->wants_help = true;
        return true;
    }
}

/* What take_option takes for it. */
static int refuse_value(const char *verb, int option, const char *name, const char *value)
{
    char what[160];
    char expected[48];
    (void)snprintf(expected, sizeof expected, "is not a number from 1 to %d", CA_DAYS_MAX);
    (void)snprintf(what, sizeof what, "--%s '%.64s' %s", name, value,
                   option == ROLE     ? "is not one of broker, worker, client and admin"
                   : option == SERIAL ? "is not a serial number as `netpool ca show` prints it"
                   : option == HOST   ? "is one too many"
                                      : expected);
    return usage(verb, what, "");
}

/* DONE, or USAGE after saying what is wrong. */
static int parse(struct arguments *arguments, const char *verb, const struct option *options, int argc, char **argv)
{
    optind = 0;
    opterr = 0;
    for (;;) {
        int index = 0;
        int option = getopt_long(argc, argv, ":h", options, &index);
        if (option == -1) {
            break;
        }
        if (option == '?') {
            return usage(verb, "unknown option", argv[optind - 1]);
        }
        if (option == ':') {
            return usage(verb, "an argument is missing after", argv[optind - 1]);
        }
        if (!take_option(arguments, option, optarg)) {
            return refuse_value(verb, option, options[index].name, optarg);
        }
    }
    if (arguments->wants_help) {
        return DONE;
    }
    if (argc - optind != 1) {
        return argc - optind < 1
                   ? usage(verb, options == options_show ? "DIR or FILE is missing" : "DIR is missing", "")
                   : usage(verb, "unexpected argument", argv[optind + 1]);
    }
    arguments->path = argv[optind];
    return DONE;
}

int ca_command(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr,
                "netpool ca: what to do is missing: init, issue, revoke, crl or show (see netpool ca --help)\n");
        return USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        return ca_help_print(NULL);
    }
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        if (strcmp(argv[1], verbs[i].name) == 0) {
            struct arguments arguments = {0};
            int result = parse(&arguments, verbs[i].name, verbs[i].options, argc - 1, argv + 1);
            if (result != DONE) {
                return result;
            }
            return arguments.wants_help ? ca_help_print(verbs[i].name) : verbs[i].run(&arguments);
        }
    }
    fprintf(stderr, "netpool ca: unknown command '%s' (see netpool ca --help)\n", argv[1]);
    return USAGE;
}
