#include "cli/ca/certificate.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

#include "common/error.h"
#include "common/random.h"

#define SECONDS_PER_DAY (24 * 60 * 60)

static netpool_status fail(netpool_error *error, const char *what)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    netpool_status status = np_error_set(error, NETPOOL_SYSTEM, "%s: %s", what, reason == NULL ? "failed" : reason);
    ERR_clear_error();
    return status;
}

netpool_status certificate_new_key(EVP_PKEY **out, netpool_error *error)
{
    ERR_clear_error();
    EVP_PKEY *key = EVP_EC_gen("P-256");
    if (key == NULL) {
        return fail(error, "cannot make a key");
    }
    *out = key;
    return NETPOOL_OK;
}

uint64_t certificate_random_serial(void)
{
    uint64_t serial;
    do {
        np_random_system(&serial, sizeof serial);
        serial &= INT64_MAX;
    } while (serial == 0);
    return serial;
}

static bool is_address(const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

bool certificate_host_is_valid(const char *host)
{
    if (is_address(host)) {
        return true;
    }
    size_t length = strlen(host);
    const char *rest = strncmp(host, "*.", 2) == 0 ? host + 2 : host; /* one whole label may be a wildcard */
    return length >= 1 && length <= 253 && rest[0] != '\0' && rest[0] != '-' && rest[0] != '.' &&
           strspn(rest, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == strlen(rest) &&
           strstr(rest, "..") == NULL;
}

/* Takes the name's value over on success. */
static bool push_name(GENERAL_NAMES *names, int type, ASN1_STRING *value)
{
    GENERAL_NAME *name = GENERAL_NAME_new();
    if (name == NULL || value == NULL) {
        GENERAL_NAME_free(name);
        return false;
    }
    GENERAL_NAME_set0_value(name, type, value);
    if (sk_GENERAL_NAME_push(names, name) == 0) {
        GENERAL_NAME_free(name);
        return false;
    }
    return true;
}

static ASN1_STRING *new_ia5(const char *text)
{
    ASN1_IA5STRING *string = ASN1_IA5STRING_new();
    if (string != NULL && ASN1_STRING_set(string, text, (int)strlen(text)) != 1) {
        ASN1_IA5STRING_free(string);
        return NULL;
    }
    return string;
}

static bool add_names(X509 *certificate, const struct certificate_plan *plan)
{
    if (plan->uri_count + plan->host_count == 0) {
        return true;
    }
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    bool ok = names != NULL;
    for (size_t i = 0; ok && i < plan->uri_count; i++) {
        ok = push_name(names, GEN_URI, new_ia5(plan->uris[i]));
    }
    for (size_t i = 0; ok && i < plan->host_count; i++) {
        const char *host = plan->hosts[i];
        ok = is_address(host) ? push_name(names, GEN_IPADD, a2i_IPADDRESS(host))
                              : push_name(names, GEN_DNS, new_ia5(host));
    }
    ok = ok && X509_add1_ext_i2d(certificate, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) == 1;
    sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
    return ok;
}

static bool add_extension(X509 *certificate, X509V3_CTX *context, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, context, nid, value);
    bool ok = extension != NULL && X509_add_ext(certificate, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return ok;
}

static bool add_extensions(X509 *certificate, X509 *issuer, const struct certificate_plan *plan)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    const char *extended = plan->server_auth && plan->client_auth ? "serverAuth,clientAuth"
                           : plan->server_auth                    ? "serverAuth"
                           : plan->client_auth                    ? "clientAuth"
                                                                  : NULL;
    return add_extension(certificate, &context, NID_basic_constraints,
                         plan->is_authority ? "critical,CA:TRUE,pathlen:0" : "critical,CA:FALSE") &&
           add_extension(certificate, &context, NID_key_usage,
                         plan->is_authority ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature") &&
           (extended == NULL || add_extension(certificate, &context, NID_ext_key_usage, extended)) &&
           add_extension(certificate, &context, NID_subject_key_identifier, "hash") &&
           add_extension(certificate, &context, NID_authority_key_identifier, "keyid:always") &&
           add_names(certificate, plan);
}

/* In days and seconds: X509_gmtime_adj overflows where long is 32 bits wide. */
static bool set_time(ASN1_TIME *out, time_t now, int64_t offset_s)
{
    return ASN1_TIME_adj(out, now, (int)(offset_s / SECONDS_PER_DAY), (long)(offset_s % SECONDS_PER_DAY)) != NULL;
}

static bool set_subject(X509 *certificate, const struct certificate_plan *plan)
{
    X509_NAME *subject = X509_get_subject_name(certificate);
    const unsigned char *organization = (const unsigned char *)plan->organization;
    const unsigned char *name = (const unsigned char *)plan->common_name;
    return X509_NAME_add_entry_by_NID(subject, NID_organizationName, MBSTRING_UTF8, organization, -1, -1, 0) == 1 &&
           X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8, name, -1, -1, 0) == 1;
}

netpool_status certificate_new(X509 **out, const struct certificate_plan *plan, EVP_PKEY *subject_key, X509 *issuer,
                               EVP_PKEY *issuer_key, netpool_error *error)
{
    for (size_t i = 0; i < plan->host_count; i++) {
        if (!certificate_host_is_valid(plan->hosts[i])) {
            return np_error_set(error, NETPOOL_INVALID, "host '%.200s' is neither a host name nor an address",
                                plan->hosts[i]);
        }
    }
    ERR_clear_error();
    time_t now = time(NULL);
    X509 *certificate = X509_new();
    X509 *signer = issuer == NULL ? certificate : issuer;
    if (certificate == NULL || X509_set_version(certificate, X509_VERSION_3) != 1 ||
        ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), plan->serial) != 1 ||
        !set_subject(certificate, plan) || X509_set_issuer_name(certificate, X509_get_subject_name(signer)) != 1 ||
        !set_time(X509_getm_notBefore(certificate), now, plan->valid_from_s) ||
        !set_time(X509_getm_notAfter(certificate), now, plan->valid_from_s + plan->valid_for_s) ||
        X509_set_pubkey(certificate, subject_key) != 1 || !add_extensions(certificate, signer, plan) ||
        X509_sign(certificate, issuer_key, EVP_sha256()) == 0) {
        X509_free(certificate);
        return fail(error, "cannot make a certificate");
    }
    *out = certificate;
    return NETPOOL_OK;
}
