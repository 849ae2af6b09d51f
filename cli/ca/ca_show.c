#include "cli/ca/ca_show.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <libgen.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/ca/authority.h"
#include "common/error.h"
#include "common/text.h"
#include "proto/message.h"
#include "transport/tls/files.h"
#include "transport/tls/verify.h"

static void format_time(char out[INDEX_TIME_SIZE], const ASN1_TIME *time)
{
    struct tm parts;
    np_text_copy(out, INDEX_TIME_SIZE, "unreadable");
    if (time != NULL && ASN1_TIME_to_tm(time, &parts) == 1) {
        index_format_time(out, timegm(&parts));
    }
}

static void print_hosts(X509 *certificate)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        char text[INET6_ADDRSTRLEN] = "";
        if (name->type == GEN_IPADD) {
            int length = ASN1_STRING_length(name->d.iPAddress);
            (void)inet_ntop(length == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(name->d.iPAddress), text,
                            sizeof text);
            printf("host       %s\n", text);
        } else if (name->type == GEN_DNS) {
            char host[256];
            (void)snprintf(host, sizeof host, "%.*s", ASN1_STRING_length(name->d.dNSName),
                           (const char *)ASN1_STRING_get0_data(name->d.dNSName));
            np_text_clean(host);
            printf("host       %s\n", host);
        }
    }
    GENERAL_NAMES_free(names);
}

static const char *state_of(X509 *certificate, const struct index *index)
{
    const struct index_entry *entry =
        index == NULL ? NULL : index_find(index, tls_serial_number(X509_get0_serialNumber(certificate)));
    if (entry != NULL && entry->revoked_at != 0) {
        return "revoked";
    }
    if (X509_cmp_current_time(X509_get0_notAfter(certificate)) <= 0) {
        return "expired";
    }
    if (X509_cmp_current_time(X509_get0_notBefore(certificate)) >= 0) {
        return "not yet valid";
    }
    return "valid";
}

static void print_certificate(X509 *certificate, const struct index *index)
{
    struct identity identity;
    netpool_error error = {0};
    char pool[NP_IDENTITY_PART_MAX + 1];
    char from[INDEX_TIME_SIZE];
    char until[INDEX_TIME_SIZE];
    if (ca_pool_of(pool, certificate, NULL) == NETPOOL_OK) {
        printf("pool       %s\nrole       CA\n", pool);
    } else if (identity_of_certificate(&identity, certificate, &error) == NETPOOL_OK) {
        printf("pool       %s\nrole       %s\nname       %s\n", identity.pool, np_role_name(identity.role),
               identity.name);
    } else {
        printf("identity   none: %s\n", error.message);
    }
    format_time(from, X509_get0_notBefore(certificate));
    format_time(until, X509_get0_notAfter(certificate));
    printf("serial     %016" PRIx64 "\n", tls_serial_number(X509_get0_serialNumber(certificate)));
    print_hosts(certificate);
    printf("valid      from %s until %s\nstate      %s\n", from, until, state_of(certificate, index));
}

/* The index beside a certificate tells whether it is revoked; without one nobody knows. */
static bool find_index(struct index *index, const char *path)
{
    char copy[SAFE_FILE_PATH_MAX];
    char beside[SAFE_FILE_PATH_MAX];
    np_text_copy(copy, sizeof copy, path);
    return ca_path(beside, dirname(copy), "index", NULL) == NETPOOL_OK && access(beside, R_OK) == 0 &&
           index_read(index, beside, NULL) == NETPOOL_OK;
}

static netpool_status show_file(const char *path, netpool_error *error)
{
    STACK_OF(X509) * list;
    netpool_status status = tls_files_read_certificates(&list, path, error);
    if (status != NETPOOL_OK) {
        return status;
    }
    struct index index = {0};
    bool known = find_index(&index, path);
    for (int i = 0; i < sk_X509_num(list); i++) {
        printf("%s", i > 0 ? "\n" : "");
        print_certificate(sk_X509_value(list, i), known ? &index : NULL);
    }
    index_fini(&index);
    sk_X509_pop_free(list, X509_free);
    return NETPOOL_OK;
}

static void print_index(const struct index *index)
{
    printf("\n%-16s  %-6s  %-24s  %-20s  %s\n", "SERIAL", "ROLE", "NAME", "VALID UNTIL", "STATE");
    time_t now = time(NULL);
    for (size_t i = 0; i < index->count; i++) {
        const struct index_entry *entry = &index->entries[i];
        char until[INDEX_TIME_SIZE];
        index_format_time(until, entry->not_after);
        printf("%016" PRIx64 "  %-6s  %-24s  %s  %s\n", entry->serial, np_role_name(entry->role), entry->name, until,
               entry->revoked_at != 0    ? "revoked"
               : entry->not_after <= now ? "expired"
                                         : "valid");
    }
}

static void print_crl(const char *path)
{
    STACK_OF(X509_CRL) * list;
    netpool_error error = {0};
    if (tls_files_read_crls(&list, path, &error) != NETPOOL_OK) {
        printf("crl        unusable: %s\n", error.message);
        return;
    }
    char next[INDEX_TIME_SIZE];
    format_time(next, X509_CRL_get0_nextUpdate(sk_X509_CRL_value(list, 0)));
    printf("crl        valid until %s\n", next);
    sk_X509_CRL_pop_free(list, X509_CRL_free);
}

static netpool_status show_directory(const char *dir, netpool_error *error)
{
    char path[SAFE_FILE_PATH_MAX];
    struct index index = {0};
    if (!ca_exists(dir)) {
        return np_error_set(error, NETPOOL_SYSTEM, "%s holds no CA", dir);
    }
    netpool_status status = ca_path(path, dir, "index", error);
    if (status == NETPOOL_OK) {
        status = index_read(&index, path, error);
    }
    if (status == NETPOOL_OK) {
        status = ca_path(path, dir, "ca.pem", error);
    }
    if (status == NETPOOL_OK) {
        status = show_file(path, error);
    }
    if (status == NETPOOL_OK) {
        status = ca_path(path, dir, "crl.pem", error);
    }
    if (status == NETPOOL_OK) {
        print_crl(path);
        print_index(&index);
    }
    index_fini(&index);
    return status;
}

netpool_status ca_show(const char *path, netpool_error *error)
{
    struct stat about;
    if (stat(path, &about) != 0) {
        return np_error_system(error, "cannot read %s", path);
    }
    return S_ISDIR(about.st_mode) ? show_directory(path, error) : show_file(path, error);
}
