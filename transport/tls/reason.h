/* Why TLS failed, in words that a person can act on. */
#ifndef NP_TLS_REASON_H
#define NP_TLS_REASON_H

#include <stdbool.h>

#include "common/netpool_status.h"

struct tls_reason {
    netpool_status status;
    const char *text; /* half a sentence, static */
};

/* What the peer's alert (RFC 8446, section 6) says about us, to follow "X refused our ". */
struct tls_reason tls_reason_of_alert(int alert);

/* Of an error code of OpenSSL's queue. An alert of the peer gives NETPOOL_REFUSED. *is_alert tells whether the peer
 * said it (then the text is about us) or we did (then it is about the peer). */
struct tls_reason tls_reason_of_error(unsigned long code, bool *is_alert);

/* Of a verification error (X509_V_ERR_*): what is wrong with a certificate, as in "certificate of X <text>". NULL
 * when there is no better text than OpenSSL's own. */
const char *tls_reason_of_verification(int verification_error);

#endif
