/*
 * make_odd_certificate CA_DIR OUT_DIR STEM [--uri URI]... [--host HOST]... [--server] [--client] [--from S] [--for
 * S]: signs with the CA of CA_DIR what its arguments say, without any check, and writes OUT_DIR/STEM.pem and
 * STEM.key. For tests that drive whole programs.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/odd_certificate.h"

#define NAMES_MAX 16

static const struct option options[] = {
    {"uri", required_argument, NULL, 'u'},
    {"host", required_argument, NULL, 'h'},
    {"server", no_argument, NULL, 's'},
    {"client", no_argument, NULL, 'c'},
    {"from", required_argument, NULL, 'f'},
    {"for", required_argument, NULL, 'd'},
    {0},
};

int main(int argc, char **argv)
{
    const char *uris[NAMES_MAX];
    const char *hosts[NAMES_MAX];
    struct certificate_plan plan = {
        .serial = certificate_random_serial(),
        .organization = "odd",
        .common_name = "odd",
        .uris = uris,
        .hosts = hosts,
        .valid_from_s = -3600,
        .valid_for_s = 86400,
    };
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'u' && plan.uri_count < NAMES_MAX) {
            uris[plan.uri_count++] = optarg;
        } else if (option == 'h' && plan.host_count < NAMES_MAX) {
            hosts[plan.host_count++] = optarg;
        } else if (option == 's') {
            plan.server_auth = true;
        } else if (option == 'c') {
            plan.client_auth = true;
        } else if (option == 'f') {
            plan.valid_from_s = strtoll(optarg, NULL, 10);
        } else if (option == 'd') {
            plan.valid_for_s = strtoll(optarg, NULL, 10);
        } else {
            return 2;
        }
    }
    if (argc - optind != 3) {
        fprintf(stderr, "usage: make_odd_certificate [options] CA_DIR OUT_DIR STEM\n");
        return 2;
    }
    struct odd_authority authority;
    bool ok = odd_authority_open(&authority, argv[optind]) &&
              odd_certificate_write(&authority, &plan, argv[optind + 1], argv[optind + 2]);
    odd_authority_fini(&authority);
    return ok ? 0 : 1;
}
