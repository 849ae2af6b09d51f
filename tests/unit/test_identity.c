/* The grammar of identities, and where in a certificate they may stand. */
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include "cli/ca/certificate.h"
#include "transport/identity.h"

static void well_formed_identity_is_taken_apart_and_put_together(void **state)
{
    (void)state;
    static const char *const uris[] = {"netpool://lab/broker/main", "netpool://a/worker/w-1.example_x",
                                       "netpool://P.o-o_l/client/0", "netpool://lab/admin/..."};
    for (size_t i = 0; i < sizeof uris / sizeof *uris; i++) {
        struct identity identity;
        netpool_error error = {0};
        char text[192];
        assert_int_equal(identity_parse(&identity, uris[i], &error), NETPOOL_OK);
        identity_format(&identity, text);
        assert_string_equal(text, uris[i]);
    }
}

static void longest_identity_fits(void **state)
{
    (void)state;
    char part[NP_IDENTITY_PART_MAX + 1];
    memset(part, 'x', NP_IDENTITY_PART_MAX);
    part[NP_IDENTITY_PART_MAX] = '\0';
    char uri[192];
    (void)snprintf(uri, sizeof uri, "netpool://%s/worker/%s", part, part);
    struct identity identity;
    char text[192];
    assert_int_equal(identity_parse(&identity, uri, NULL), NETPOOL_OK);
    identity_format(&identity, text);
    assert_string_equal(text, uri);
    char longer[192];
    (void)snprintf(longer, sizeof longer, "netpool://%sx/worker/%s", part, part);
    assert_int_equal(identity_parse(&identity, longer, NULL), NETPOOL_REFUSED);
    (void)snprintf(longer, sizeof longer, "netpool://%s/worker/%sx", part, part);
    assert_int_equal(identity_parse(&identity, longer, NULL), NETPOOL_REFUSED);
}

static void malformed_identity_is_refused_and_quoted(void **state)
{
    (void)state;
    static const char *const uris[] = {
        "",
        "netpool",
        "netpool:",
        "netpool:/",
        "netpool://",
        "netpool:///",
        "netpool:////",
        "netpool://lab",
        "netpool://lab/",
        "netpool://lab/worker",
        "netpool://lab/worker/",
        "netpool://lab//w1",
        "netpool:///worker/w1",
        "netpool://lab/worker/w1/",
        "netpool://lab/worker/w1/x",
        "netpool://lab/worker/w 1",
        "netpool://lab/Worker/w1",
        "netpool://lab/none/w1",
        "netpool://lab/root/w1",
        "netpool://l%61b/worker/w1",
        "netpool://lab/worker/w1?x",
        "netpool://lab/worker/w1#x",
        "netpool://u@lab/worker/w1",
        "netpool://lab:1/worker/w1",
        "NETPOOL://lab/worker/w1",
        "Netpool://lab/worker/w1",
        "http://lab/worker/w1",
        " netpool://lab/worker/w1",
        "netpool://lab/worker/w1 ",
        "netpool://lab/worker/w1\n",
        "netpool://l\xc3\xa4/worker/w1",
        "netpool://lab/worker/\xff",
        "netpool://lab/workerr/w1",
        "netpool://lab/work/w1",
        "netpool://lab\\worker\\w1",
        "netpool://*/worker/w1",
    };
    for (size_t i = 0; i < sizeof uris / sizeof *uris; i++) {
        struct identity identity = {.role = NP__ROLE__ADMIN, .name = "untouched"};
        netpool_error error = {0};
        assert_int_equal(identity_parse(&identity, uris[i], &error), NETPOOL_REFUSED);
        assert_int_equal(error.status, NETPOOL_REFUSED);
        assert_non_null(strstr(error.message, "identity '"));
        assert_string_equal(identity.name, "untouched");
    }
}

/* Makes a self-signed certificate with these URIs and reads its identity. */
static netpool_status identity_of(const char *const *uris, size_t count, const char *common_name,
                                  struct identity *identity, netpool_error *error)
{
    static const char *const hosts[] = {"host.example"};
    struct certificate_plan plan = {.serial = 7,
                                    .organization = "lab",
                                    .common_name = common_name,
                                    .uris = uris,
                                    .uri_count = count,
                                    .hosts = hosts,
                                    .host_count = 1,
                                    .valid_for_s = 3600};
    EVP_PKEY *key = NULL;
    X509 *certificate = NULL;
    assert_int_equal(certificate_new_key(&key, NULL), NETPOOL_OK);
    assert_int_equal(certificate_new(&certificate, &plan, key, NULL, key, NULL), NETPOOL_OK);
    netpool_status status = identity_of_certificate(identity, certificate, error);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return status;
}

static void b25_certificate_needs_exactly_one_uri(void **state)
{
    (void)state;
    static const char *const uris[] = {"netpool://lab/worker/w1", "netpool://lab/worker/w1"};
    static const char *const foreign[] = {"https://example.org/"};
    struct identity identity;
    netpool_error error = {0};
    assert_int_equal(identity_of(uris, 1, "x", &identity, &error), NETPOOL_OK);
    assert_string_equal(identity.name, "w1");
    assert_int_equal(identity.role, NP__ROLE__WORKER);
    assert_int_equal(identity_of(uris, 2, "x", &identity, &error), NETPOOL_REFUSED);
    assert_non_null(strstr(error.message, "2 URI SANs"));
    assert_int_equal(identity_of(uris, 0, "netpool://lab/worker/w1", &identity, &error), NETPOOL_REFUSED);
    assert_non_null(strstr(error.message, "no URI SAN"));
    assert_int_equal(identity_of(foreign, 1, "x", &identity, &error), NETPOOL_REFUSED);
    assert_non_null(strstr(error.message, "https://example.org/"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(well_formed_identity_is_taken_apart_and_put_together),
        cmocka_unit_test(longest_identity_fits),
        cmocka_unit_test(malformed_identity_is_refused_and_quoted),
        cmocka_unit_test(b25_certificate_needs_exactly_one_uri),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
