/* What a tls_context accepts as its own credentials, and that it names the file which is at fault. */
#include "tests/support/cmocka_all.h"

#include <dirent.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/ca/authority.h"
#include "cli/ca/revocation.h"
#include "tests/support/odd_certificate.h"
#include "transport/tls.h"

#define DAY_S 86400

struct fixture {
    char dir[64];
    char paths[4][128]; /* ca, cert, key, crl */
    struct odd_authority authority;
};

enum { CA, CERT, KEY, CRL };

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    static const char *const hosts[] = {"127.0.0.1"};
    static const char *const names[] = {"ca.pem", "worker-w1.pem", "worker-w1.key", "crl.pem"};
    (void)snprintf(fixture->dir, sizeof fixture->dir, "/tmp/netpool-credentials-XXXXXX");
    assert_non_null(mkdtemp(fixture->dir));
    assert_int_equal(ca_init(fixture->dir, "lab", NULL), NETPOOL_OK);
    assert_int_equal(ca_issue(fixture->dir, NP__ROLE__BROKER, "main", hosts, 1, NULL), NETPOOL_OK);
    assert_int_equal(ca_issue(fixture->dir, NP__ROLE__WORKER, "w1", NULL, 0, NULL), NETPOOL_OK);
    for (size_t i = 0; i < 4; i++) {
        (void)snprintf(fixture->paths[i], sizeof fixture->paths[i], "%s/%s", fixture->dir, names[i]);
    }
    assert_true(odd_authority_open(&fixture->authority, fixture->dir));
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    odd_authority_fini(&fixture->authority);
    DIR *dir = opendir(fixture->dir);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            int flags = entry->d_type == DT_DIR ? AT_REMOVEDIR : 0;
            assert_int_equal(unlinkat(dirfd(dir), entry->d_name, flags), 0);
        }
    }
    assert_int_equal(closedir(dir), 0);
    assert_int_equal(rmdir(fixture->dir), 0);
    free(fixture);
    return 0;
}

static netpool_status load(const struct fixture *fixture, Np__Role role, bool with_crl, netpool_error *error)
{
    struct tls_context *context = NULL;
    struct tls_files files = {.ca = fixture->paths[CA],
                              .cert = fixture->paths[CERT],
                              .key = fixture->paths[KEY],
                              .crl = with_crl ? fixture->paths[CRL] : NULL};
    *error = (netpool_error){0};
    netpool_status status = tls_context_new(&context, &files, role, error);
    assert_true((status == NETPOOL_OK) == (context != NULL));
    tls_context_destroy(&context);
    assert_null(context);
    return status;
}

static void expect_refusal(const struct fixture *fixture, int file, const char *reason)
{
    netpool_error error;
    assert_int_equal(load(fixture, NP__ROLE__WORKER, true, &error), NETPOOL_CREDENTIALS);
    if (strstr(error.message, reason) == NULL) {
        print_message("%s\n", error.message);
    }
    assert_non_null(strstr(error.message, fixture->paths[file]));
    assert_non_null(strstr(error.message, reason));
}

static void overwrite(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(close(fd), 0);
}

static void good_credentials_load_and_tell_who_we_are(void **state)
{
    struct fixture *fixture = *state;
    struct tls_context *context;
    struct tls_files files = {
        .ca = fixture->paths[CA], .cert = fixture->paths[CERT], .key = fixture->paths[KEY], .crl = NULL};
    assert_int_equal(tls_context_new(&context, &files, NP__ROLE__WORKER, NULL), NETPOOL_OK);
    const struct link_peer *identity = tls_context_identity(context);
    assert_int_equal(identity->role, NP__ROLE__WORKER);
    assert_string_equal(identity->name, "w1");
    assert_string_equal(identity->pool, "lab");
    assert_false(tls_context_is_revoked(context, identity->serial));
    tls_context_destroy(&context);
    netpool_error error;
    assert_int_equal(load(fixture, NP__ROLE__WORKER, true, &error), NETPOOL_OK);
}

static void missing_files_are_named(void **state)
{
    struct fixture *fixture = *state;
    for (int i = CA; i <= CRL; i++) {
        assert_int_equal(unlink(fixture->paths[i]), 0);
        expect_refusal(fixture, i, "No such file");
        assert_int_equal(mkdir(fixture->paths[i], 0700), 0);
        expect_refusal(fixture, i, "not a regular file");
        assert_int_equal(rmdir(fixture->paths[i]), 0);
        assert_int_equal(mkfifo(fixture->paths[i], 0600), 0); /* must not block either */
        expect_refusal(fixture, i, "not a regular file");
        tear_down(state);
        set_up(state);
        fixture = *state;
    }
    netpool_error error = {0};
    struct tls_context *context = NULL;
    struct tls_files files = {.ca = fixture->paths[CA], .cert = fixture->paths[CERT]};
    assert_int_equal(tls_context_new(&context, &files, NP__ROLE__WORKER, &error), NETPOOL_CREDENTIALS);
    assert_non_null(strstr(error.message, "no key"));
}

static void damaged_files_are_named(void **state)
{
    static const struct {
        int file;
        const char *text;
        const char *reason;
    } rows[] = {
        {CA, "", "no certificate"},
        {CA, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "damaged certificate"},
        {CERT, "hello\n", "no certificate"},
        {CERT, "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n", "damaged certificate"},
        {KEY, "", "no usable private key"},
        {KEY, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no usable private key"},
        {CRL, "", "no revocation list"},
        {CRL, "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", "damaged revocation list"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct fixture *fixture = *state;
        overwrite(fixture->paths[rows[i].file], rows[i].text);
        expect_refusal(fixture, rows[i].file, rows[i].reason);
        tear_down(state);
        set_up(state);
    }
}

static void b29_key_that_others_can_read_is_refused(void **state)
{
    struct fixture *fixture = *state;
    static const mode_t loose[] = {0640, 0604, 0620, 0602, 0610, 0601, 0644, 0666, 0777, 0440};
    for (size_t i = 0; i < sizeof loose / sizeof *loose; i++) {
        assert_int_equal(chmod(fixture->paths[KEY], loose[i]), 0);
        expect_refusal(fixture, KEY, "chmod 600");
    }
    netpool_error error;
    assert_int_equal(chmod(fixture->paths[KEY], 0400), 0);
    assert_int_equal(load(fixture, NP__ROLE__WORKER, true, &error), NETPOOL_OK);
}

static void b29_key_of_another_certificate_is_refused(void **state)
{
    struct fixture *fixture = *state;
    (void)snprintf(fixture->paths[KEY], sizeof fixture->paths[KEY], "%s/broker-main.key", fixture->dir);
    expect_refusal(fixture, KEY, "does not belong to the certificate");
}

static void encrypted_key_is_refused_without_a_prompt(void **state)
{
    struct fixture *fixture = *state;
    EVP_PKEY *key = NULL;
    assert_int_equal(certificate_new_key(&key, NULL), NETPOOL_OK);
    FILE *file = fopen(fixture->paths[KEY], "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_PKCS8PrivateKey(file, key, EVP_aes_128_cbc(), "secret", 6, NULL, NULL), 1);
    assert_int_equal(fclose(file), 0);
    EVP_PKEY_free(key);
    expect_refusal(fixture, KEY, "passphrase");
}

/* Replaces worker-w1 by a certificate made after the plan. */
static void issue(const struct fixture *fixture, const struct certificate_plan *plan)
{
    assert_true(odd_certificate_write(&fixture->authority, plan, fixture->dir, "worker-w1"));
}

static void b25_own_certificate_is_checked_before_any_peer_sees_it(void **state)
{
    struct fixture *fixture = *state;
    char uri[192];
    const char *uris[1];
    struct certificate_plan plan = odd_plan(NP__ROLE__WORKER, "lab", "w1", uri, uris);
    plan.valid_from_s = -2 * DAY_S;
    plan.valid_for_s = DAY_S;
    issue(fixture, &plan);
    expect_refusal(fixture, CERT, "has expired");
    plan = odd_plan(NP__ROLE__WORKER, "lab", "w1", uri, uris);
    plan.valid_from_s = DAY_S;
    issue(fixture, &plan);
    expect_refusal(fixture, CERT, "not yet valid");
    plan = odd_plan(NP__ROLE__WORKER, "lab", "w1", uri, uris);
    plan.client_auth = false;
    plan.server_auth = true;
    issue(fixture, &plan);
    expect_refusal(fixture, CERT, "clientAuth");
    plan = odd_plan(NP__ROLE__CLIENT, "lab", "w1", uri, uris);
    issue(fixture, &plan);
    expect_refusal(fixture, CERT, "has role client, expected worker");
    plan.uri_count = 0;
    issue(fixture, &plan);
    expect_refusal(fixture, CERT, "no URI SAN");
}

static void certificate_that_is_no_ca_is_refused_as_ca(void **state)
{
    struct fixture *fixture = *state;
    (void)snprintf(fixture->paths[CA], sizeof fixture->paths[CA], "%s/broker-main.pem", fixture->dir);
    expect_refusal(fixture, CA, "not a CA");
}

static void write_crl(const struct fixture *fixture, int64_t from_s, int64_t until_s)
{
    struct index index = {0};
    X509_CRL *crl = NULL;
    assert_int_equal(
        revocation_new(&crl, &index, fixture->authority.certificate, fixture->authority.key, from_s, until_s, NULL),
        NETPOOL_OK);
    assert_int_equal(safe_file_write_crl(fixture->paths[CRL], crl, NULL), NETPOOL_OK);
    X509_CRL_free(crl);
}

static void b27_stale_revocation_list_is_refused(void **state)
{
    struct fixture *fixture = *state;
    netpool_error error;
    write_crl(fixture, -2 * DAY_S, -DAY_S);
    expect_refusal(fixture, CRL, "out of date");
    write_crl(fixture, DAY_S, 2 * DAY_S);
    expect_refusal(fixture, CRL, "not yet valid");
    write_crl(fixture, -DAY_S, DAY_S);
    assert_int_equal(load(fixture, NP__ROLE__WORKER, true, &error), NETPOOL_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(good_credentials_load_and_tell_who_we_are, set_up, tear_down),
        cmocka_unit_test_setup_teardown(missing_files_are_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(damaged_files_are_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(b29_key_that_others_can_read_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(b29_key_of_another_certificate_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(encrypted_key_is_refused_without_a_prompt, set_up, tear_down),
        cmocka_unit_test_setup_teardown(b25_own_certificate_is_checked_before_any_peer_sees_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(certificate_that_is_no_ca_is_refused_as_ca, set_up, tear_down),
        cmocka_unit_test_setup_teardown(b27_stale_revocation_list_is_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
