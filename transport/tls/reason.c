#include "transport/tls/reason.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <stddef.h>

static const struct {
    int alert;
    struct tls_reason reason;
} alerts[] = {
    {SSL_AD_CERTIFICATE_EXPIRED, {NETPOOL_REFUSED, "certificate: expired (or its revocation list is out of date)"}},
    {SSL_AD_CERTIFICATE_REVOKED, {NETPOOL_REFUSED, "certificate: revoked"}},
    {SSL_AD_UNKNOWN_CA, {NETPOOL_REFUSED, "certificate: signed by an unknown CA (or no revocation list of that CA)"}},
    {SSL_AD_BAD_CERTIFICATE,
     {NETPOOL_REFUSED, "certificate: bad (pool, role or identity not accepted, wrong host, or not yet valid)"}},
    {SSL_AD_UNSUPPORTED_CERTIFICATE, {NETPOOL_REFUSED, "certificate: not meant for this use (extended key usage)"}},
    {SSL_AD_CERTIFICATE_UNKNOWN, {NETPOOL_REFUSED, "certificate: not acceptable"}},
    {SSL_AD_CERTIFICATE_REQUIRED, {NETPOOL_REFUSED, "connection: a certificate is required and none was sent"}},
    {SSL_AD_ACCESS_DENIED, {NETPOOL_REFUSED, "connection: access denied"}},
    {SSL_AD_DECRYPT_ERROR, {NETPOOL_REFUSED, "certificate: a signature did not verify"}},
    {SSL_AD_PROTOCOL_VERSION, {NETPOOL_REFUSED, "connection: it does not speak TLS 1.3"}},
    {SSL_AD_HANDSHAKE_FAILURE, {NETPOOL_REFUSED, "connection: no common TLS parameters"}},
    {SSL_AD_INTERNAL_ERROR, {NETPOOL_REFUSED, "connection: internal error at its side"}},
};

static const struct {
    int reason;
    const char *text;
} failures[] = {
    {SSL_R_HTTP_REQUEST, "sent a plain HTTP request, not TLS"},
    {SSL_R_HTTPS_PROXY_REQUEST, "sent a plain HTTP proxy request, not TLS"},
    {SSL_R_WRONG_VERSION_NUMBER, "does not speak TLS"},
    {SSL_R_UNSUPPORTED_PROTOCOL, "does not speak TLS 1.3"},
    {SSL_R_VERSION_TOO_LOW, "does not speak TLS 1.3"},
    {SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, "sent no certificate"},
    {SSL_R_NO_SHARED_CIPHER, "has no cipher suite in common with us"},
    {SSL_R_NO_SUITABLE_KEY_SHARE, "has no key exchange group in common with us"},
    {SSL_R_EXCESSIVE_MESSAGE_SIZE, "sent an oversized handshake message"},
    {SSL_R_CERTIFICATE_VERIFY_FAILED, "has a certificate that does not verify"},
};

static const struct {
    int error;
    const char *text;
} verifications[] = {
    {X509_V_ERR_CERT_HAS_EXPIRED, "has expired"},
    {X509_V_ERR_CERT_NOT_YET_VALID, "is not yet valid"},
    {X509_V_ERR_CERT_REVOKED, "has been revoked"},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, "is signed by an unknown CA"},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, "is signed by an unknown CA"},
    {X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, "is signed by an unknown CA"},
    {X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, "is signed by an unknown CA"},
    {X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, "is signed by itself, not by the pool's CA"},
    {X509_V_ERR_CERT_SIGNATURE_FAILURE, "has a signature that is not its CA's"},
    {X509_V_ERR_CERT_CHAIN_TOO_LONG, "has too long a chain of CAs"},
    {X509_V_ERR_INVALID_CA, "is signed by a certificate that is not a CA"},
    {X509_V_ERR_PATH_LENGTH_EXCEEDED, "is signed by a CA that must not have CAs below it"},
    {X509_V_ERR_UNABLE_TO_GET_CRL, "cannot be checked: no revocation list of its CA is configured"},
    {X509_V_ERR_CRL_HAS_EXPIRED, "cannot be checked: the revocation list is out of date"},
    {X509_V_ERR_CRL_NOT_YET_VALID, "cannot be checked: the revocation list is not yet valid"},
    {X509_V_ERR_CRL_SIGNATURE_FAILURE, "cannot be checked: the revocation list's signature is wrong"},
};

struct tls_reason tls_reason_of_alert(int alert)
{
    for (size_t i = 0; i < sizeof alerts / sizeof alerts[0]; i++) {
        if (alerts[i].alert == alert) {
            return alerts[i].reason;
        }
    }
    return (struct tls_reason){NETPOOL_REFUSED, "connection with a TLS alert that says no more"};
}

struct tls_reason tls_reason_of_error(unsigned long code, bool *is_alert)
{
    int reason = ERR_GET_REASON(code);
    bool is_ssl = ERR_GET_LIB(code) == ERR_LIB_SSL;
    *is_alert = is_ssl && reason > SSL_AD_REASON_OFFSET && reason <= SSL_AD_REASON_OFFSET + 255;
    if (*is_alert) {
        return tls_reason_of_alert(reason - SSL_AD_REASON_OFFSET);
    }
    for (size_t i = 0; is_ssl && i < sizeof failures / sizeof failures[0]; i++) {
        if (failures[i].reason == reason) {
            return (struct tls_reason){NETPOOL_PROTOCOL, failures[i].text};
        }
    }
    if (ERR_GET_LIB(code) == ERR_LIB_SYS) {
        return (struct tls_reason){NETPOOL_UNREACHABLE, ERR_reason_error_string(code)};
    }
    const char *text = ERR_reason_error_string(code);
    return (struct tls_reason){NETPOOL_PROTOCOL, text == NULL ? "broke the TLS protocol" : text};
}

const char *tls_reason_of_verification(int verification_error)
{
    for (size_t i = 0; i < sizeof verifications / sizeof verifications[0]; i++) {
        if (verifications[i].error == verification_error) {
            return verifications[i].text;
        }
    }
    return NULL;
}
