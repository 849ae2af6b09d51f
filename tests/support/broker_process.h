/* A netpool-broker as a child of a test: started on port 0 in a directory of its own, ready when this returns, its
 * log read line by line. Every failure fails the test. */
#ifndef NP_TEST_BROKER_PROCESS_H
#define NP_TEST_BROKER_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

struct broker_process {
    pid_t pid;
    char port[8];    /* of the TLS listener, "" = none */
    int log_fd;      /* the broker's standard error */
    char log[65536]; /* what was read of it so far */
    size_t log_size;
};

/* A new directory under $TMPDIR, mode 0700; removed with all that is in it by test_directory_remove. */
void test_directory_make(char out[64]);
void test_directory_remove(const char *path);

/* Starts the program with these arguments (NULL at the end; --ready-fd is added) and waits for its ready line.
 * `descriptors` > 0 is its limit of open files. */
void broker_start(struct broker_process *broker, const char *const *arguments, unsigned descriptors);

/* The same, but it is expected to end before it is ready: waits, and returns its exit status. */
int broker_start_failing(struct broker_process *broker, const char *const *arguments);

/* Waits until the log has `text`. */
void broker_expect_log(struct broker_process *broker, const char *text);

/* Sends the signal and waits for the end; returns the exit status, 128 + N when a signal N ended it. */
int broker_stop(struct broker_process *broker, int signal_number);

/* Processor time used so far, ms. */
long broker_cpu_ms(const struct broker_process *broker);

/* How often one of its threads went to sleep so far: however fast the machine is. */
long broker_sleeps(const struct broker_process *broker);

/* The most memory it has had at a time, KiB. */
long broker_peak_kib(const struct broker_process *broker);

#endif
