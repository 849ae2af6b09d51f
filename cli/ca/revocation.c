#include "cli/ca/revocation.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <time.h>

#include "common/error.h"

static bool set_serial(X509_REVOKED *revoked, uint64_t number)
{
    ASN1_INTEGER *serial = ASN1_INTEGER_new();
    bool ok = serial != NULL && ASN1_INTEGER_set_uint64(serial, number) == 1 &&
              X509_REVOKED_set_serialNumber(revoked, serial) == 1; /* copies it */
    ASN1_INTEGER_free(serial);
    return ok;
}

static bool set_date(X509_REVOKED *revoked, time_t when)
{
    ASN1_TIME *date = ASN1_TIME_set(NULL, when);
    bool ok = date != NULL && X509_REVOKED_set_revocationDate(revoked, date) == 1;
    ASN1_TIME_free(date);
    return ok;
}

static bool add_revoked(X509_CRL *crl, const struct index *index)
{
    for (size_t i = 0; i < index->count; i++) {
        const struct index_entry *entry = &index->entries[i];
        if (entry->revoked_at == 0) {
            continue;
        }
        X509_REVOKED *revoked = X509_REVOKED_new();
        if (revoked == NULL || !set_serial(revoked, entry->serial) || !set_date(revoked, entry->revoked_at) ||
            X509_CRL_add0_revoked(crl, revoked) != 1) {
            X509_REVOKED_free(revoked);
            return false;
        }
    }
    return X509_CRL_sort(crl) == 1;
}

/* seconds_from_now may be negative. */
static ASN1_TIME *new_time(int64_t seconds_from_now)
{
    return ASN1_TIME_set(NULL, (time_t)((int64_t)time(NULL) + seconds_from_now));
}

static bool set_times(X509_CRL *crl, int64_t from_s, int64_t until_s)
{
    ASN1_TIME *from = new_time(from_s);
    ASN1_TIME *until = new_time(until_s);
    bool ok = from != NULL && until != NULL && X509_CRL_set1_lastUpdate(crl, from) == 1 &&
              X509_CRL_set1_nextUpdate(crl, until) == 1;
    ASN1_TIME_free(from);
    ASN1_TIME_free(until);
    return ok;
}

/* The number has to grow from list to list (RFC 5280, 5.2.3): the time in microseconds does. */
static bool add_extensions(X509_CRL *crl, X509 *authority)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    uint64_t micros = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
    ASN1_INTEGER *number = ASN1_INTEGER_new();
    bool ok = number != NULL && ASN1_INTEGER_set_uint64(number, micros) == 1 &&
              X509_CRL_add1_ext_i2d(crl, NID_crl_number, number, 0, 0) == 1;
    ASN1_INTEGER_free(number);
    X509V3_CTX context;
    X509V3_set_ctx(&context, authority, NULL, NULL, crl, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, NID_authority_key_identifier, "keyid:always");
    ok = ok && extension != NULL && X509_CRL_add_ext(crl, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return ok;
}

netpool_status revocation_new(X509_CRL **out, const struct index *index, X509 *authority, EVP_PKEY *authority_key,
                              int64_t valid_from_s, int64_t valid_until_s, netpool_error *error)
{
    ERR_clear_error();
    X509_CRL *crl = X509_CRL_new();
    if (crl == NULL || X509_CRL_set_version(crl, X509_CRL_VERSION_2) != 1 ||
        X509_CRL_set_issuer_name(crl, X509_get_subject_name(authority)) != 1 ||
        !set_times(crl, valid_from_s, valid_until_s) || !add_revoked(crl, index) || !add_extensions(crl, authority) ||
        X509_CRL_sign(crl, authority_key, EVP_sha256()) == 0) {
        X509_CRL_free(crl);
        const char *reason = ERR_reason_error_string(ERR_peek_last_error());
        netpool_status status = np_error_set(error, NETPOOL_SYSTEM, "cannot make a revocation list: %s",
                                             reason == NULL ? "failed" : reason);
        ERR_clear_error();
        return status;
    }
    *out = crl;
    return NETPOOL_OK;
}
