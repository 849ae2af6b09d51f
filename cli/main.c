/* `netpool VERB ...`: a table of verbs. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/ca/ca_command.h"
#include "cli/command.h"
#include "client/netpool.h"

static int help_command(int argc, char **argv);

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} verbs[] = {
    {"map", map_command}, {"up", up_command}, {"status", status_command}, {"ca", ca_command}, {"help", help_command},
};

static int print_version(void)
{
    const char *const text[] = {"netpool " NETPOOL_VERSION "\n", NULL};
    return help_print(text);
}

static int run_verb(int argc, char **argv)
{
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        if (strcmp(argv[0], verbs[i].name) == 0) {
            return verbs[i].run(argc, argv);
        }
    }
    complain("'%s' is not a command: use map, up, status, ca or help", argv[0]);
    return CLI_USAGE;
}

/* `netpool help VERB` is `netpool VERB --help`. */
static int help_command(int argc, char **argv)
{
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        return help_print(help_netpool);
    }
    char ask[] = "--help";
    char *arguments[] = {argv[1], ask, NULL};
    return run_verb(2, arguments);
}

/* A pool's descriptors must not get the numbers of standard streams that were closed. What holds them is open the
 * wrong way round, so that reading and writing fail as on a closed one. */
static bool hold_standard_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd) {
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    if (!hold_standard_streams()) {
        return CLI_POOL;
    }
    netpool_init(&argc, &argv);
    if (argc < 2) {
        complain("a command is missing: use map, up, status, ca or help");
        return CLI_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        return help_print(help_netpool);
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        return print_version();
    }
    if (argv[1][0] == '-') {
        complain("unknown option '%s' (see netpool --help)", argv[1]);
        return CLI_USAGE;
    }
    return run_verb(argc - 1, argv + 1);
}
