/* The processes of a floor (client, relay, echo), which are children of the client, and their loopback sockets. */
#ifndef BENCH_PARTY_H
#define BENCH_PARTY_H

#include <stdint.h>
#include <sys/types.h>

typedef void party_main(void *argument);

/* Runs `run` in a child that dies with its parent and exits 0 when it returns. */
pid_t party_start(party_main *run, void *argument);

/* Waits for a child that ends by itself; the program ends with an error unless that was with 0. */
void party_join(pid_t pid);

/* For children that wait for ever: ends and reaps one. */
void party_end(pid_t pid);

int party_listen(uint16_t *port); /* on 127.0.0.1, a free port */
int party_accept(int listener);   /* with TCP_NODELAY */
int party_connect(uint16_t port);

#endif
