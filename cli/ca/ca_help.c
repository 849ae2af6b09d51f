#include "cli/ca/ca_help.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

static const char overview[] =
    "netpool ca - the certificate authority of a pool\n"
    "\n"
    "Usage:\n"
    "  netpool ca init DIR [--pool POOL] [--days N] [--crl-days N]\n"
    "  netpool ca issue DIR --role ROLE --name NAME [--host HOST]... [--days N] [--force]\n"
    "  netpool ca revoke DIR (--name NAME [--role ROLE] | --serial HEX) [--crl-days N]\n"
    "  netpool ca crl DIR [--crl-days N]\n"
    "  netpool ca show DIR|FILE\n"
    "\n"
    "Every connection of a pool is TLS 1.3 with a certificate on both sides. This command makes the CA that both\n"
    "sides trust and issues the certificates. Who somebody is stands in exactly one URI of his certificate,\n"
    "netpool://POOL/ROLE/NAME; host names matter for brokers only.\n"
    "\n"
    "DIR belongs to an administrator: whoever reads ca.key can be anybody in the pool. A broker, worker or program\n"
    "gets three files: ca.pem and its own ROLE-NAME.pem and ROLE-NAME.key. A broker gets crl.pem too.\n"
    "\n"
    "Exit status: 0 done, 1 failed, 2 wrong usage (nothing was changed).\n"
    "\n"
    "Example:\n"
    "  netpool ca init pki --pool lab\n"
    "  netpool ca issue pki --role broker --name main --host broker.lab --host 10.0.0.5\n"
    "  netpool ca issue pki --role worker --name w1\n"
    "  netpool ca issue pki --role client --name alice\n";

static const char init[] =
    "netpool ca init - make a certificate authority\n"
    "\n"
    "Usage: netpool ca init DIR [--pool POOL] [--days N] [--crl-days N]\n"
    "\n"
    "Makes DIR (mode 0700) when it is missing and in it ca.pem and ca.key (mode 0600), an empty revocation list\n"
    "crl.pem and the index of what is issued. A directory that holds a CA already is left as it is (status 2).\n"
    "\n"
    "  --pool POOL    name of the pool, 1 to 64 characters of A-Z a-z 0-9 . _ - (default: default)\n"
    "  --days N       how long the CA is valid (default 3650)\n"
    "  --crl-days N   how long the revocation list is valid (default 30)\n"
    "  --help         this text\n";

static const char issue[] =
    "netpool ca issue - issue a certificate\n"
    "\n"
    "Usage: netpool ca issue DIR --role ROLE --name NAME [--host HOST]... [--days N] [--force]\n"
    "\n"
    "Writes DIR/ROLE-NAME.pem and DIR/ROLE-NAME.key (mode 0600).\n"
    "\n"
    "  --role ROLE    broker, worker, client or admin\n"
    "  --name NAME    1 to 64 characters of A-Z a-z 0-9 . _ -\n"
    "  --host HOST    broker only, repeatable: a host name or address under which clients and workers connect;\n"
    "                 a broker needs at least one. \"*.example.org\" stands for one label\n"
    "  --days N       how long the certificate is valid (default 365, never longer than the CA)\n"
    "  --force        replace the files of an earlier certificate. That one stays valid until it is revoked\n"
    "  --help         this text\n";

static const char revoke[] =
    "netpool ca revoke - revoke certificates\n"
    "\n"
    "Usage: netpool ca revoke DIR (--name NAME [--role ROLE] | --serial HEX) [--crl-days N]\n"
    "\n"
    "Marks certificates as revoked and renews DIR/crl.pem. It takes effect at a broker when the broker has the new\n"
    "file and reloads (SIGHUP): peers that are connected are then cut.\n"
    "\n"
    "  --name NAME    all certificates issued to this name\n"
    "  --role ROLE    needed when the name was used for several roles\n"
    "  --serial HEX   one certificate, by the serial that 'netpool ca show' prints\n"
    "  --crl-days N   how long the new list is valid (default 30)\n"
    "  --help         this text\n";

static const char crl[] =
    "netpool ca crl - renew the revocation list\n"
    "\n"
    "Usage: netpool ca crl DIR [--crl-days N]\n"
    "\n"
    "Writes DIR/crl.pem anew. A broker that was given a revocation list refuses everybody once the list is out of\n"
    "date, so renew it in time and reload the broker.\n"
    "\n"
    "  --crl-days N   how long the new list is valid (default 30)\n"
    "  --help         this text\n";

static const char show[] =
    "netpool ca show - what a CA or a certificate is\n"
    "\n"
    "Usage: netpool ca show DIR|FILE\n"
    "\n"
    "For a directory: the CA, its revocation list and everything it issued. For a certificate file: pool, role,\n"
    "name, serial, hosts, validity and state of each certificate in it; 'revoked' is known only beside the CA's "
    "index.\n"
    "\n"
    "  --help         this text\n";

static const struct {
    const char *verb;
    const char *text;
} texts[] = {{"init", init}, {"issue", issue}, {"revoke", revoke}, {"crl", crl}, {"show", show}};

int ca_help_print(const char *verb)
{
    const char *text = overview;
    for (size_t i = 0; verb != NULL && i < sizeof texts / sizeof *texts; i++) {
        if (strcmp(texts[i].verb, verb) == 0) {
            text = texts[i].text;
        }
    }
    return fputs(text, stdout) >= 0 && fflush(stdout) == 0 ? 0 : 1;
}
