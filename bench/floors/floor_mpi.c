/*
 * A second floor, for round trips: 16 bytes to another rank and back with OpenMPI, as programs on a cluster do it.
 * Both ranks wait by polling, each on a core of its own; a pool's processes sleep.
 *
 *     floor_mpi TRANSPORT [SECONDS]      TRANSPORT: tcp (loopback), shared (memory)
 *
 * Started plainly it becomes mpirun with two ranks of itself.
 */
#include <errno.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/figures.h"

#define MESSAGE_SIZE 16
#define TIMES_MAX 1000000
#define WARM_UP 500
#define RANK_MARK "NETPOOL_BENCH_RANK" /* in the environment of the two ranks */

enum { TAG_BALL = 1, TAG_END = 2 };

static void become_mpirun(const char *self, const char *transport, const char *seconds)
{
    const char *layers = strcmp(transport, "tcp") == 0 ? "self,tcp" : "self,vader";
    setenv(RANK_MARK, "1", 1);
    execlp("mpirun", "mpirun", "-np", "2", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "--quiet",
           "--mca", "pml", "ob1", "--mca", "btl", layers, "--mca", "btl_tcp_if_include", "lo", "--mca",
           "oob_tcp_if_include", "lo", "-x", RANK_MARK, self, transport, seconds, (char *)NULL);
    figures_die("mpirun: %s", strerror(errno));
}

static void round_trip(char *message)
{
    MPI_Send(message, MESSAGE_SIZE, MPI_BYTE, 1, TAG_BALL, MPI_COMM_WORLD);
    MPI_Recv(message, MESSAGE_SIZE, MPI_BYTE, 1, TAG_BALL, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}

static void serve(const char *case_name, double seconds)
{
    char message[MESSAGE_SIZE] = "there and back";
    struct figures_times times;
    figures_times_init(&times, TIMES_MAX);
    for (int i = 0; i < WARM_UP; i++) {
        round_trip(message);
    }
    uint64_t now_ns = figures_now_ns();
    uint64_t end_ns = now_ns + (uint64_t)(seconds * FIGURES_NS_PER_S);
    while (now_ns < end_ns) {
        uint64_t start_ns = now_ns;
        round_trip(message);
        now_ns = figures_now_ns();
        figures_times_add(&times, now_ns - start_ns);
    }
    MPI_Send(message, MESSAGE_SIZE, MPI_BYTE, 1, TAG_END, MPI_COMM_WORLD);
    figures_print_times(case_name, "round_trip", &times);
    figures_times_fini(&times);
}

static void answer(void)
{
    char message[MESSAGE_SIZE];
    MPI_Status status;
    for (;;) {
        MPI_Recv(message, MESSAGE_SIZE, MPI_BYTE, 0, MPI_ANY_TAG, MPI_COMM_WORLD, &status);
        if (status.MPI_TAG == TAG_END) {
            return;
        }
        MPI_Send(message, MESSAGE_SIZE, MPI_BYTE, 0, TAG_BALL, MPI_COMM_WORLD);
    }
}

int main(int argc, char **argv)
{
    const char *transport = argc > 1 ? argv[1] : "tcp";
    const char *text = argc > 2 ? argv[2] : "0.5";
    double seconds = figures_positive(text, "seconds");
    if (strcmp(transport, "tcp") != 0 && strcmp(transport, "shared") != 0) {
        figures_die("mpi: no transport '%s'", transport);
    }
    if (getenv(RANK_MARK) == NULL) {
        become_mpirun(argv[0], transport, text);
    }
    int rank = 0;
    MPI_Init(&argc, &argv); /* an error of MPI ends the program */
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (rank == 0) {
        serve(transport, seconds);
    } else {
        answer();
    }
    MPI_Finalize();
    return 0;
}
