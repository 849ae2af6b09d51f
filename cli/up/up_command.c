/* `netpool up`: a pool over TLS on this host for as long as a command, or this process, runs. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/up/cluster.h"
#include "common/error.h"
#include "proto/limits.h"

#define VERB "up"
#define WORKERS_MAX 256
#define PORT_MAX 65535
#define EXIT_CANNOT_RUN 126
#define EXIT_NOT_FOUND 127
#define STATE_PATH_MAX (CHILD_PATH_MAX / 2)

struct settings {
    struct cluster_options cluster;
    const char *directory; /* as given; NULL: the default */
    char **command;        /* NULL: none */
};

struct up {
    struct cluster cluster;
    int signal_fd;
    sigset_t signals;
    pid_t command; /* 0: none, or ended */
    bool is_pool_lost;
};

/* mkdir -p; what is made is for the user alone. */
static netpool_status make_directories(char *path, netpool_error *error)
{
    for (char *slash = path + 1;; slash++) {
        char separator = *slash;
        if (separator != '/' && separator != '\0') {
            continue;
        }
        *slash = '\0';
        if (mkdir(path, 0700) != 0 && errno != EEXIST) {
            return np_error_system(error, "%s", path);
        }
        *slash = separator;
        if (separator == '\0') {
            return NETPOOL_OK;
        }
    }
}

/* Absolute, so that it is right for whoever gets the environment. */
static netpool_status find_state(const char *given, char *state, size_t size, netpool_error *error)
{
    char path[PATH_MAX];
    const char *home = getenv("HOME");
    const char *state_home = getenv("XDG_STATE_HOME");
    int length;
    if (given != NULL) {
        length = snprintf(path, sizeof path, "%s", given);
    } else if (state_home != NULL && state_home[0] == '/') {
        length = snprintf(path, sizeof path, "%s/netpool", state_home);
    } else if (home != NULL && home[0] != '\0') {
        length = snprintf(path, sizeof path, "%s/.local/state/netpool", home);
    } else {
        return np_error_set(error, NETPOOL_INVALID, "no state directory: give --dir or set HOME");
    }
    if (length <= 0 || (size_t)length >= sizeof path) {
        return np_error_set(error, NETPOOL_INVALID, "the state directory's path is empty or too long");
    }
    netpool_status status = make_directories(path, error);
    if (status != NETPOOL_OK) {
        return status;
    }
    char *absolute = realpath(path, NULL);
    if (absolute == NULL) {
        return np_error_system(error, "%s", path);
    }
    length = snprintf(state, size, "%s", absolute);
    free(absolute);
    if ((size_t)length >= size) {
        return np_error_set(error, NETPOOL_INVALID, "the state directory's path is too long");
    }
    return NETPOOL_OK;
}

static void set_environment(const struct cluster *cluster)
{
    setenv("NETPOOL_URL", cluster->url, 1);
    setenv("NETPOOL_CA", cluster->credentials.ca, 1);
    setenv("NETPOOL_CERT", cluster->credentials.client.cert, 1);
    setenv("NETPOOL_KEY", cluster->credentials.client.key, 1);
}

static void print_export(const char *name, const char *value)
{
    printf("export %s='", name);
    for (const char *next = value; *next != '\0'; next++) {
        fputs(*next == '\'' ? "'\\''" : (char[]){*next, '\0'}, stdout);
    }
    puts("'");
}

static bool print_environment(const struct cluster *cluster)
{
    print_export("NETPOOL_URL", cluster->url);
    print_export("NETPOOL_CA", cluster->credentials.ca);
    print_export("NETPOOL_CERT", cluster->credentials.client.cert);
    print_export("NETPOOL_KEY", cluster->credentials.client.key);
    if (fflush(stdout) != 0) {
        complain("writing the environment: %s", strerror(errno));
        return false;
    }
    return true;
}

static bool start_command(struct up *up, char **command)
{
    up->command = fork();
    if (up->command == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        sigprocmask(SIG_UNBLOCK, &up->signals, NULL);
        set_environment(&up->cluster);
        execvp(command[0], command);
        int error = errno;
        complain("%s: %s", command[0], strerror(error));
        _exit(error == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN);
    }
    if (up->command < 0) {
        up->command = 0;
        complain("starting %s: %s", command[0], strerror(errno));
        return false;
    }
    return true;
}

/* The command's exit status in the way of a shell. */
static int exit_code_of_wait(int wait_status)
{
    return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

/* What one signal means. Returns the exit code when it is the end, -1 to go on. */
static int handle_signal(struct up *up, int signal_number)
{
    int wait_status;
    if (signal_number != SIGCHLD) {
        if (up->command == 0) {
            return CLI_DONE;
        }
        if (signal_number != SIGINT) { /* the terminal sends SIGINT to the command as well; it decides */
            kill(up->command, signal_number);
        }
        return -1;
    }
    if (up->command != 0 && waitpid(up->command, &wait_status, WNOHANG) == up->command) {
        up->command = 0;
        return up->is_pool_lost ? CLI_POOL : exit_code_of_wait(wait_status);
    }
    if (!up->is_pool_lost && !cluster_look(&up->cluster)) {
        up->is_pool_lost = true;
        if (up->command == 0) {
            return CLI_POOL;
        }
        kill(up->command, SIGTERM); /* it may take its time: signals are passed on to it meanwhile */
    }
    return -1;
}

static int serve(struct up *up)
{
    for (;;) {
        struct signalfd_siginfo info;
        ssize_t got = read(up->signal_fd, &info, sizeof info);
        if (got == sizeof info) {
            int exit_code = handle_signal(up, (int)info.ssi_signo);
            if (exit_code >= 0) {
                return exit_code;
            }
        } else if (got < 0 && errno != EINTR) {
            complain("signalfd: %s", strerror(errno));
            return CLI_POOL;
        }
    }
}

static int run(struct up *up, const struct settings *settings)
{
    netpool_error error = {0};
    int signal_number = 0;
    netpool_status status = cluster_start(&up->cluster, &settings->cluster, up->signal_fd, &signal_number, &error);
    if (status == NETPOOL_CANCELLED) {
        return 128 + signal_number;
    }
    if (status != NETPOOL_OK) {
        complain("%s", error.message);
        return CLI_POOL;
    }
    if (settings->command != NULL) {
        return start_command(up, settings->command) ? serve(up) : CLI_POOL;
    }
    return print_environment(&up->cluster) ? serve(up) : CLI_TASK_FAILED;
}

static int up_and_down(const struct settings *settings)
{
    struct up up = {0};
    sigemptyset(&up.signals);
    sigaddset(&up.signals, SIGCHLD);
    sigaddset(&up.signals, SIGINT);
    sigaddset(&up.signals, SIGTERM);
    sigaddset(&up.signals, SIGHUP);
    sigprocmask(SIG_BLOCK, &up.signals, NULL);
    up.signal_fd = signalfd(-1, &up.signals, SFD_CLOEXEC);
    if (up.signal_fd < 0) {
        complain("signalfd: %s", strerror(errno));
        return CLI_POOL;
    }
    int exit_code = run(&up, settings);
    cluster_stop(&up.cluster, exit_code == CLI_POOL);
    close(up.signal_fd);
    return exit_code;
}

static const struct option options[] = {
    {"dir", required_argument, NULL, 'd'},     {"port", required_argument, NULL, 'p'},
    {"workers", required_argument, NULL, 'w'}, {"slots", required_argument, NULL, 's'},
    {"module", required_argument, NULL, 'm'},  {"label", required_argument, NULL, 'l'},
    {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0},
};

/* The cores shared out, one at least. */
static unsigned default_slots(unsigned workers)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned long share = cores > 0 ? ((unsigned long)cores + workers - 1) / workers : 1;
    return share < NP_SLOTS_MAX ? (unsigned)share : NP_SLOTS_MAX;
}

/* `modules` and `labels` have room for argc + 1. */
static int parse(struct settings *settings, const char **modules, const char **labels, int argc, char **argv,
                 bool *help)
{
    uint64_t workers = 1;
    uint64_t slots = 0;
    size_t module_count = 0;
    size_t label_count = 0;
    int option;
    bool valid = true;
    optind = 1;
    while (valid && (option = next_option(argc, argv, "+d:p:w:s:m:l:h", options)) != -1) {
        switch (option) {
        case 'd':
            settings->directory = optarg;
            break;
        case 'p':
            valid = parse_count(VERB, "--port", optarg, 0, PORT_MAX, &settings->cluster.port);
            break;
        case 'w':
            valid = parse_count(VERB, "--workers", optarg, 1, WORKERS_MAX, &workers);
            break;
        case 's':
            valid = parse_count(VERB, "--slots", optarg, 1, NP_SLOTS_MAX, &slots);
            break;
        case 'm':
            modules[module_count++] = optarg;
            break;
        case 'l':
            labels[label_count++] = optarg;
            break;
        case 'h':
            *help = true;
            return CLI_DONE;
        default:
            valid = false;
        }
    }
    if (!valid) {
        return CLI_USAGE;
    }
    if (optind < argc && strcmp(argv[optind - 1], "--") != 0) {
        return complain_usage(VERB, "put -- before the command '%s'", argv[optind]);
    }
    if (optind == argc && strcmp(argv[optind - 1], "--") == 0) {
        return complain_usage(VERB, "a command is missing after --");
    }
    settings->command = optind < argc ? argv + optind : NULL;
    settings->cluster.modules = modules;
    settings->cluster.labels = labels;
    settings->cluster.workers = (unsigned)workers;
    settings->cluster.slots = slots > 0 ? (unsigned)slots : default_slots((unsigned)workers);
    return CLI_DONE;
}

int up_command(int argc, char **argv)
{
    struct settings settings = {0};
    const char **modules = calloc((size_t)argc + 1, sizeof *modules);
    const char **labels = calloc((size_t)argc + 1, sizeof *labels);
    char state[STATE_PATH_MAX];
    netpool_error error = {0};
    bool help = false;
    int exit_code = CLI_POOL;
    if (modules == NULL || labels == NULL) {
        complain("out of memory");
    } else {
        exit_code = parse(&settings, modules, labels, argc, argv, &help);
    }
    if (help) {
        exit_code = help_print(help_up);
    } else if (exit_code == CLI_DONE) {
        netpool_status status = find_state(settings.directory, state, sizeof state, &error);
        if (status == NETPOOL_OK) {
            settings.cluster.state = state;
            exit_code = up_and_down(&settings);
        } else {
            complain("%s", error.message);
            exit_code = status == NETPOOL_INVALID ? CLI_USAGE : CLI_POOL;
        }
    }
    free(labels);
    free(modules);
    return exit_code;
}
