#include "transport/tls/verify.h"

#include <arpa/inet.h>
#include <assert.h>
#include <openssl/bn.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "common/error.h"
#include "common/text.h"
#include "proto/message.h"
#include "transport/identity.h"
#include "transport/tls/reason.h"

uint64_t tls_serial_number(const ASN1_INTEGER *serial)
{
    uint64_t low = 0;
    int length = ASN1_STRING_length(serial);
    const unsigned char *bytes = ASN1_STRING_get0_data(serial); /* magnitude, most significant byte first */
    for (int i = length > 8 ? length - 8 : 0; i < length; i++) {
        low = low << 8 | bytes[i];
    }
    return low;
}

const char *tls_verify_usage(X509 *certificate, bool is_broker)
{
    uint32_t extended = X509_get_extended_key_usage(certificate);
    if (extended == UINT32_MAX) { /* absent: OpenSSL would take it for any use */
        return "has no extended key usage";
    }
    if (is_broker && (extended & XKU_SSL_SERVER) == 0) {
        return "is not meant for a server: its extended key usage has no serverAuth";
    }
    if (!is_broker && (extended & XKU_SSL_CLIENT) == 0) {
        return "is not meant for a client: its extended key usage has no clientAuth";
    }
    if ((X509_get_key_usage(certificate) & KU_DIGITAL_SIGNATURE) == 0) {
        return "is not meant for signatures: its key usage has no digitalSignature";
    }
    return NULL;
}

netpool_status tls_verifier_install(struct tls_verifier *verifier, SSL *ssl)
{
    SSL_set_app_data(ssl, verifier);
    if (verifier->host == NULL) {
        return NETPOOL_OK;
    }
    X509_VERIFY_PARAM *parameters = SSL_get0_param(ssl);
    unsigned char address[sizeof(struct in6_addr)];
    X509_VERIFY_PARAM_set_hostflags(parameters,
                                    X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    if (inet_pton(AF_INET, verifier->host, address) == 1 || inet_pton(AF_INET6, verifier->host, address) == 1) {
        return X509_VERIFY_PARAM_set1_ip_asc(parameters, verifier->host) == 1 ? NETPOOL_OK : NETPOOL_NO_MEMORY;
    }
    if (X509_VERIFY_PARAM_set1_host(parameters, verifier->host, 0) != 1 ||
        SSL_set_tlsext_host_name(ssl, verifier->host) != 1) {
        return NETPOOL_NO_MEMORY;
    }
    return NETPOOL_OK;
}

/* What OpenSSL found. */
static void report(const struct tls_verifier *verifier, X509_STORE_CTX *store)
{
    int code = X509_STORE_CTX_get_error(store);
    X509 *certificate = X509_STORE_CTX_get_current_cert(store);
    const char *address = verifier->peer->address;
    const char *text = tls_reason_of_verification(code);
    char what[160];
    if (X509_STORE_CTX_get_error_depth(store) == 0 || certificate == NULL) {
        (void)snprintf(what, sizeof what, "certificate of %s", address);
    } else {
        char subject[64];
        X509_NAME_oneline(X509_get_subject_name(certificate), subject, sizeof subject);
        (void)snprintf(what, sizeof what, "CA certificate %s over %.64s", subject, address);
    }
    if (code == X509_V_ERR_HOSTNAME_MISMATCH || code == X509_V_ERR_IP_ADDRESS_MISMATCH) {
        (void)np_error_set(verifier->error, NETPOOL_CREDENTIALS, "%s is not for host %s", what, verifier->host);
    } else if (code == X509_V_ERR_INVALID_PURPOSE && certificate != NULL) {
        text = tls_verify_usage(certificate, verifier->peer_is_broker);
        (void)np_error_set(verifier->error, NETPOOL_CREDENTIALS, "%s %s", what,
                           text == NULL ? "is not meant for this use" : text);
    } else if (text != NULL) {
        (void)np_error_set(verifier->error, NETPOOL_CREDENTIALS, "%s %s", what, text);
    } else {
        (void)np_error_set(verifier->error, NETPOOL_CREDENTIALS, "%s: %s", what, X509_verify_cert_error_string(code));
    }
}

static bool is_role_accepted(Np__Role role, bool peer_is_broker)
{
    if (peer_is_broker) {
        return role == NP__ROLE__BROKER;
    }
    return role == NP__ROLE__WORKER || role == NP__ROLE__CLIENT || role == NP__ROLE__ADMIN;
}

/* Our own checks of the peer's certificate. Returns the X509_V_ERR_* that brings about the right alert, X509_V_OK. */
static int check_leaf(struct tls_verifier *verifier, X509 *certificate)
{
    const char *address = verifier->peer->address;
    const char *usage = tls_verify_usage(certificate, verifier->peer_is_broker);
    if (usage != NULL) {
        (void)np_error_set(verifier->error, NETPOOL_CREDENTIALS, "certificate of %s %s", address, usage);
        return X509_V_ERR_INVALID_PURPOSE;
    }
    struct identity identity;
    netpool_error reason = {0};
    if (identity_of_certificate(&identity, certificate, &reason) != NETPOOL_OK) {
        (void)np_error_set(verifier->error, NETPOOL_CREDENTIALS, "certificate of %s: %s", address, reason.message);
        return X509_V_ERR_CERT_REJECTED;
    }
    if (!is_role_accepted(identity.role, verifier->peer_is_broker)) {
        (void)np_error_set(verifier->error, NETPOOL_CREDENTIALS, "certificate of %s has role %s, expected %s",
                           address, np_role_name(identity.role),
                           verifier->peer_is_broker ? "broker" : "worker, client or admin");
        return X509_V_ERR_CERT_REJECTED;
    }
    if (strcmp(identity.pool, verifier->pool) != 0) {
        (void)np_error_set(verifier->error, NETPOOL_CREDENTIALS, "certificate of %s is for pool %s, ours is %s",
                           address, identity.pool, verifier->pool);
        return X509_V_ERR_CERT_REJECTED;
    }
    struct link_peer *peer = verifier->peer;
    peer->role = identity.role;
    np_text_copy(peer->name, sizeof peer->name, identity.name);
    np_text_copy(peer->pool, sizeof peer->pool, identity.pool);
    peer->serial = tls_serial_number(X509_get0_serialNumber(certificate));
    return X509_V_OK;
}

int tls_verify(int accepted, X509_STORE_CTX *store)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_verifier *verifier = SSL_get_app_data(ssl);
    assert(verifier != NULL);
    if (accepted != 1) {
        report(verifier, store);
        return 0;
    }
    /* The peer's own certificate comes last, once for a chain that is good. */
    if (X509_STORE_CTX_get_error_depth(store) == 0) {
        int code = check_leaf(verifier, X509_STORE_CTX_get_current_cert(store));
        X509_STORE_CTX_set_error(store, code);
        return code == X509_V_OK;
    }
    return 1;
}
