#include "transport/identity.h"

#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "common/error.h"
#include "proto/message.h"

#define SCHEME "netpool://"
#define PART_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"

bool identity_part_is_valid(const char *text)
{
    size_t length = strlen(text);
    return length >= 1 && length <= NP_IDENTITY_PART_MAX && strspn(text, PART_CHARACTERS) == length;
}

/* Copies the text up to `end` when it is a valid part. */
static bool copy_part(char out[NP_IDENTITY_PART_MAX + 1], const char *text, const char *end)
{
    size_t length = (size_t)(end - text);
    if (length > NP_IDENTITY_PART_MAX) {
        return false;
    }
    memcpy(out, text, length);
    out[length] = '\0';
    return identity_part_is_valid(out);
}

static netpool_status refuse(netpool_error *error, const char *uri, const char *why)
{
    return np_error_set(error, NETPOOL_REFUSED, "identity '%.200s': %s", uri, why);
}

netpool_status identity_parse(struct identity *out, const char *uri, netpool_error *error)
{
    if (strncmp(uri, SCHEME, strlen(SCHEME)) != 0) {
        return refuse(error, uri, "does not begin with " SCHEME);
    }
    const char *pool = uri + strlen(SCHEME);
    const char *pool_end = strchr(pool, '/');
    const char *role_end = pool_end == NULL ? NULL : strchr(pool_end + 1, '/');
    if (role_end == NULL) {
        return refuse(error, uri, "is not of the form netpool://POOL/ROLE/NAME");
    }
    struct identity identity;
    char role[NP_IDENTITY_PART_MAX + 1];
    if (!copy_part(identity.pool, pool, pool_end)) {
        return refuse(error, uri, "the pool must be 1 to 64 characters of A-Z a-z 0-9 . _ -");
    }
    if (!copy_part(role, pool_end + 1, role_end) || !np_role_parse(&identity.role, role)) {
        return refuse(error, uri, "the role must be broker, worker, client or admin");
    }
    if (!copy_part(identity.name, role_end + 1, uri + strlen(uri))) {
        return refuse(error, uri, "the name must be 1 to 64 characters of A-Z a-z 0-9 . _ -");
    }
    *out = identity;
    return NETPOOL_OK;
}

void identity_format(const struct identity *identity, char out[192])
{
    (void)snprintf(out, 192, SCHEME "%s/%s/%s", identity->pool, np_role_name(identity->role), identity->name);
}

/* The one URI among the names; *count says how many there are. */
static const ASN1_IA5STRING *find_uri(const GENERAL_NAMES *names, int *count)
{
    const ASN1_IA5STRING *uri = NULL;
    *count = 0;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_URI) {
            uri = name->d.uniformResourceIdentifier;
            *count += 1;
        }
    }
    return uri;
}

netpool_status identity_of_certificate(struct identity *out, X509 *certificate, netpool_error *error)
{
    int critical = 0;
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, &critical, NULL);
    if (names == NULL) {
        return np_error_set(error, NETPOOL_REFUSED, "%s",
                            critical == -1 ? "no URI SAN in the certificate (a common name does not count)"
                                           : "the certificate's subject alternative names cannot be read");
    }
    int count;
    const ASN1_IA5STRING *uri = find_uri(names, &count);
    netpool_status status;
    if (count == 0) {
        status = np_error_set(error, NETPOOL_REFUSED, "no URI SAN in the certificate (a common name does not count)");
    } else if (count > 1) {
        status = np_error_set(error, NETPOOL_REFUSED, "%d URI SANs in the certificate, expected one", count);
    } else {
        char text[256];
        int length = ASN1_STRING_length(uri);
        const unsigned char *data = ASN1_STRING_get0_data(uri);
        if (length <= 0 || (size_t)length >= sizeof text || memchr(data, '\0', (size_t)length) != NULL) {
            status =
                np_error_set(error, NETPOOL_REFUSED, "the certificate's URI SAN is empty, too long or has a NUL");
        } else {
            memcpy(text, data, (size_t)length);
            text[length] = '\0';
            status = identity_parse(out, text, error);
        }
    }
    GENERAL_NAMES_free(names);
    return status;
}
