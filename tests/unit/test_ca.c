/* The certificate authority: its files, what it refuses, and that it loses nothing. */
#include "tests/support/cmocka_all.h"

#include <dirent.h>
#include <fcntl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/ca/authority.h"
#include "cli/ca/ca_command.h"
#include "transport/tls/files.h"

struct fixture {
    char dir[64];
};

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    (void)snprintf(fixture->dir, sizeof fixture->dir, "/tmp/netpool-ca-XXXXXX");
    assert_non_null(mkdtemp(fixture->dir));
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    DIR *dir = opendir(fixture->dir);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            assert_int_equal(unlinkat(dirfd(dir), entry->d_name, 0), 0);
        }
    }
    assert_int_equal(closedir(dir), 0);
    assert_int_equal(rmdir(fixture->dir), 0);
    free(fixture);
    return 0;
}

static void path_of(const struct fixture *fixture, const char *file, char out[128])
{
    (void)snprintf(out, 128, "%s/%s", fixture->dir, file);
}

static mode_t mode_of(const struct fixture *fixture, const char *file)
{
    char path[128];
    struct stat about;
    path_of(fixture, file, path);
    assert_int_equal(stat(path, &about), 0);
    return about.st_mode & 07777;
}

static X509 *certificate_of(const struct fixture *fixture, const char *file)
{
    char path[128];
    STACK_OF(X509) * list;
    path_of(fixture, file, path);
    assert_int_equal(tls_files_read_certificates(&list, path, NULL), NETPOOL_OK);
    X509 *certificate = sk_X509_shift(list);
    sk_X509_pop_free(list, X509_free);
    return certificate;
}

static void init_makes_everything_with_the_right_modes(void **state)
{
    struct fixture *fixture = *state;
    assert_false(ca_exists(fixture->dir));
    assert_int_equal(ca_init(fixture->dir, "lab", NULL), NETPOOL_OK);
    assert_true(ca_exists(fixture->dir));
    assert_int_equal(mode_of(fixture, "ca.key"), 0600);
    assert_int_equal(mode_of(fixture, "ca.pem"), 0644);
    assert_int_equal(mode_of(fixture, "crl.pem"), 0644);
    assert_int_equal(mode_of(fixture, "index"), 0644);
    X509 *authority = certificate_of(fixture, "ca.pem");
    char pool[NP_IDENTITY_PART_MAX + 1];
    assert_int_equal(ca_pool_of(pool, authority, NULL), NETPOOL_OK);
    assert_string_equal(pool, "lab");
    assert_int_equal(X509_get_pathlen(authority), 0);
    X509_free(authority);
}

static void second_init_leaves_the_first_ca_alone(void **state)
{
    struct fixture *fixture = *state;
    netpool_error error = {0};
    assert_int_equal(ca_init(fixture->dir, "lab", NULL), NETPOOL_OK);
    X509 *before = certificate_of(fixture, "ca.pem");
    assert_int_equal(ca_init(fixture->dir, "other", &error), NETPOOL_INVALID);
    assert_non_null(strstr(error.message, fixture->dir));
    X509 *after = certificate_of(fixture, "ca.pem");
    assert_int_equal(X509_cmp(before, after), 0);
    X509_free(before);
    X509_free(after);
}

static void issued_certificates_verify_and_name_their_owner(void **state)
{
    struct fixture *fixture = *state;
    static const char *const hosts[] = {"broker.lab", "10.0.0.5", "fd00::1"};
    assert_int_equal(ca_init(fixture->dir, "lab", NULL), NETPOOL_OK);
    assert_int_equal(ca_issue(fixture->dir, NP__ROLE__BROKER, "main", hosts, 3, NULL), NETPOOL_OK);
    assert_int_equal(ca_issue(fixture->dir, NP__ROLE__ADMIN, "main", NULL, 0, NULL), NETPOOL_OK);
    assert_int_equal(mode_of(fixture, "broker-main.key"), 0600);
    X509 *authority = certificate_of(fixture, "ca.pem");
    X509 *broker = certificate_of(fixture, "broker-main.pem");
    X509 *admin = certificate_of(fixture, "admin-main.pem");
    struct identity identity;
    assert_int_equal(X509_check_issued(authority, broker), X509_V_OK);
    assert_int_equal(X509_verify(broker, X509_get0_pubkey(authority)), 1);
    assert_int_equal(identity_of_certificate(&identity, admin, NULL), NETPOOL_OK);
    assert_int_equal(identity.role, NP__ROLE__ADMIN);
    assert_string_equal(identity.pool, "lab");
    for (size_t i = 0; i < 3; i++) {
        int matches = i == 0 ? X509_check_host(broker, hosts[i], 0, 0, NULL) : X509_check_ip_asc(broker, hosts[i], 0);
        assert_int_equal(matches, 1);
    }
    assert_int_equal(X509_check_host(broker, "main", 0, 0, NULL), 0);
    X509_free(admin);
    X509_free(broker);
    X509_free(authority);
}

static void wrong_requests_are_refused_and_leave_nothing_behind(void **state)
{
    struct fixture *fixture = *state;
    static const char *const good[] = {"localhost"};
    static const char *const bad[] = {"bad host"};
    netpool_error error = {0};
    assert_int_equal(ca_issue(fixture->dir, NP__ROLE__WORKER, "w1", NULL, 0, &error), NETPOOL_INVALID);
    assert_non_null(strstr(error.message, "netpool ca init"));
    assert_int_equal(ca_init(fixture->dir, "a/b", &error), NETPOOL_INVALID);
    assert_int_equal(ca_init(fixture->dir, "lab", NULL), NETPOOL_OK);
    assert_int_equal(ca_issue(fixture->dir, NP__ROLE__WORKER, "../w1", NULL, 0, &error), NETPOOL_INVALID);
    assert_int_equal(ca_issue(fixture->dir, NP__ROLE__WORKER, "", NULL, 0, &error), NETPOOL_INVALID);
    assert_int_equal(ca_issue(fixture->dir, NP__ROLE__WORKER, "w1", good, 1, &error), NETPOOL_INVALID);
    assert_int_equal(ca_issue(fixture->dir, NP__ROLE__BROKER, "b1", NULL, 0, &error), NETPOOL_INVALID);
    assert_int_equal(ca_issue(fixture->dir, NP__ROLE__BROKER, "b1", bad, 1, &error), NETPOOL_INVALID);
    assert_non_null(strstr(error.message, "bad host"));
    struct index index = {0};
    char path[128];
    path_of(fixture, "index", path);
    assert_int_equal(index_read(&index, path, NULL), NETPOOL_OK);
    assert_int_equal(index.count, 0);
    index_fini(&index);
}

static void name_is_issued_again_only_when_asked_for(void **state)
{
    struct fixture *fixture = *state;
    netpool_error error = {0};
    struct ca_terms terms = {.replace = true, .days = 1};
    assert_int_equal(ca_init(fixture->dir, "lab", NULL), NETPOOL_OK);
    assert_int_equal(ca_issue(fixture->dir, NP__ROLE__WORKER, "w1", NULL, 0, NULL), NETPOOL_OK);
    X509 *first = certificate_of(fixture, "worker-w1.pem");
    assert_int_equal(ca_issue(fixture->dir, NP__ROLE__WORKER, "w1", NULL, 0, &error), NETPOOL_INVALID);
    assert_non_null(strstr(error.message, "worker-w1.pem"));
    assert_int_equal(ca_issue_with(fixture->dir, NP__ROLE__WORKER, "w1", NULL, 0, &terms, NULL), NETPOOL_OK);
    X509 *second = certificate_of(fixture, "worker-w1.pem");
    assert_int_not_equal(X509_cmp(first, second), 0);
    X509_free(first);
    X509_free(second);
    size_t count = 0;
    struct ca_selection selection = {.name = "w1"};
    assert_int_equal(ca_revoke(fixture->dir, &selection, &terms, &count, NULL), NETPOOL_OK);
    assert_int_equal(count, 2);
    assert_int_equal(ca_revoke(fixture->dir, &selection, &terms, &count, NULL), NETPOOL_OK);
    assert_int_equal(count, 0);
}

static void revocation_needs_to_know_which_certificate(void **state)
{
    struct fixture *fixture = *state;
    netpool_error error = {0};
    struct ca_terms terms = {0};
    size_t count = 0;
    assert_int_equal(ca_init(fixture->dir, "lab", NULL), NETPOOL_OK);
    assert_int_equal(ca_issue(fixture->dir, NP__ROLE__WORKER, "x", NULL, 0, NULL), NETPOOL_OK);
    assert_int_equal(ca_issue(fixture->dir, NP__ROLE__CLIENT, "x", NULL, 0, NULL), NETPOOL_OK);
    struct ca_selection selection = {.name = "x"};
    assert_int_equal(ca_revoke(fixture->dir, &selection, &terms, &count, &error), NETPOOL_INVALID);
    assert_non_null(strstr(error.message, "--role"));
    selection.role = NP__ROLE__CLIENT;
    assert_int_equal(ca_revoke(fixture->dir, &selection, &terms, &count, &error), NETPOOL_OK);
    assert_int_equal(count, 1);
    selection.name = "nobody";
    assert_int_equal(ca_revoke(fixture->dir, &selection, &terms, &count, &error), NETPOOL_INVALID);
    assert_non_null(strstr(error.message, "nobody"));
    struct index index = {0};
    char path[128];
    path_of(fixture, "index", path);
    assert_int_equal(index_read(&index, path, NULL), NETPOOL_OK);
    assert_int_equal(index.count, 2);
    struct ca_selection by_serial = {.serial = index.entries[0].serial};
    assert_int_equal(ca_revoke(fixture->dir, &by_serial, &terms, &count, &error), NETPOOL_OK);
    assert_int_equal(count, 1);
    by_serial.serial ^= 1;
    assert_int_equal(ca_revoke(fixture->dir, &by_serial, &terms, &count, &error), NETPOOL_INVALID);
    index_fini(&index);
}

static void damaged_index_is_named_with_its_line(void **state)
{
    struct fixture *fixture = *state;
    static const char *const lines[] = {
        "x\n",
        "0000000000000000 worker w1 2030-01-01T00:00:00Z valid\n",
        "1 worker w1 2030-01-01T00:00:00Z lost\n",
        "1 root w1 2030-01-01T00:00:00Z valid\n",
        "1 worker w/1 2030-01-01T00:00:00Z valid\n",
        "1 worker w1 yesterday valid\n",
        "1 worker w1 2030-01-01T00:00:00Z revoked\n",
        "\n",
    };
    char path[128];
    path_of(fixture, "index", path);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fprintf(file, "1 worker w1 2030-01-01T00:00:00Z valid\n%s", lines[i]);
        assert_int_equal(fclose(file), 0);
        struct index index = {0};
        netpool_error error = {0};
        assert_int_equal(index_read(&index, path, &error), NETPOOL_CREDENTIALS);
        assert_non_null(strstr(error.message, "index:2:"));
        index_fini(&index);
    }
}

/* Runs `ca` with up to five arguments, its output thrown away. */
static int run(const char *a, const char *b, const char *c, const char *d, const char *e)
{
    const char *const words[] = {a, b, c, d, e};
    char copies[6][128] = {"ca"};
    char *argv[7] = {copies[0]};
    int argc = 1;
    for (size_t i = 0; i < 5 && words[i] != NULL; i++) {
        (void)snprintf(copies[argc], sizeof copies[argc], "%s", words[i]);
        argv[argc] = copies[argc];
        argc++;
    }
    fflush(stdout);
    int saved[2] = {dup(1), dup(2)};
    int sink = open("/dev/null", O_WRONLY);
    assert_true(dup2(sink, 1) == 1 && dup2(sink, 2) == 2);
    int status = ca_command(argc, argv);
    fflush(stdout);
    assert_true(dup2(saved[0], 1) == 1 && dup2(saved[1], 2) == 2);
    assert_int_equal(close(sink) | close(saved[0]) | close(saved[1]), 0);
    return status;
}

static void command_line_ends_with_conventional_statuses(void **state)
{
    struct fixture *fixture = *state;
    const char *dir = fixture->dir;
    assert_int_equal(run(NULL, NULL, NULL, NULL, NULL), 2);
    assert_int_equal(run("frobnicate", NULL, NULL, NULL, NULL), 2);
    assert_int_equal(run("--help", NULL, NULL, NULL, NULL), 0);
    static const char *const verbs[] = {"init", "issue", "revoke", "crl", "show"};
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        assert_int_equal(run(verbs[i], "--help", NULL, NULL, NULL), 0);
        assert_int_equal(run(verbs[i], NULL, NULL, NULL, NULL), 2);
        assert_int_equal(run(verbs[i], dir, "--bogus", NULL, NULL), 2);
        assert_int_equal(run(verbs[i], dir, "more", NULL, NULL), 2);
    }
    assert_int_equal(run("show", dir, NULL, NULL, NULL), 1);
    assert_int_equal(run("init", dir, "--days=0", NULL, NULL), 2);
    assert_int_equal(run("init", dir, "--pool=lab", NULL, NULL), 0);
    assert_int_equal(run("init", dir, NULL, NULL, NULL), 2);
    assert_int_equal(run("issue", dir, "--role=worker", "--name=w1", NULL), 0);
    assert_int_equal(run("issue", dir, "--role=worker", "--name=w1", NULL), 2);
    assert_int_equal(run("issue", dir, "--role=worker", "--name=w1", "--force"), 0);
    assert_int_equal(run("issue", dir, "--role=broker", "--name=b", "--host=localhost"), 0);
    assert_int_equal(run("revoke", dir, NULL, NULL, NULL), 2);
    assert_int_equal(run("revoke", dir, "--serial=xyz", NULL, NULL), 2);
    assert_int_equal(run("revoke", dir, "--name=w1", NULL, NULL), 0);
    assert_int_equal(run("crl", dir, "--crl-days=7", NULL, NULL), 0);
    assert_int_equal(run("show", dir, NULL, NULL, NULL), 0);
    char path[128];
    path_of(fixture, "broker-b.pem", path);
    assert_int_equal(run("show", path, NULL, NULL, NULL), 0);
    path_of(fixture, "broker-b.key", path);
    assert_int_equal(run("show", path, NULL, NULL, NULL), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(init_makes_everything_with_the_right_modes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(second_init_leaves_the_first_ca_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(issued_certificates_verify_and_name_their_owner, set_up, tear_down),
        cmocka_unit_test_setup_teardown(wrong_requests_are_refused_and_leave_nothing_behind, set_up, tear_down),
        cmocka_unit_test_setup_teardown(name_is_issued_again_only_when_asked_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(revocation_needs_to_know_which_certificate, set_up, tear_down),
        cmocka_unit_test_setup_teardown(damaged_index_is_named_with_its_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(command_line_ends_with_conventional_statuses, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
