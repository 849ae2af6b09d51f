#include "worker/zygote/zygote.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/error.h"

netpool_status zygote_start(struct zygote *zygote, const char *const *modules, size_t module_count, unsigned slots,
                            netpool_error *error)
{
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) {
        return np_error_system(error, "cannot make a socket pair");
    }
    pid_t pid = fork();
    if (pid < 0) {
        netpool_status status = np_error_system(error, "cannot fork");
        close(fds[0]);
        close(fds[1]);
        return status;
    }
    if (pid == 0) {
        close(fds[0]);
        zygote_main(fds[1], modules, module_count, slots);
    }
    close(fds[1]);
    *zygote = (struct zygote){.fd = fds[0], .pid = pid};
    return NETPOOL_OK;
}

static netpool_status receive(struct zygote *zygote, struct zygote_event *event, int flags)
{
    memset(event, 0, sizeof *event);
    ssize_t size;
    do {
        size = recv(zygote->fd, event, sizeof *event - 1, flags);
    } while (size < 0 && errno == EINTR);
    if (size < 0 && errno == EAGAIN) {
        return NETPOOL_TIMEOUT;
    }
    return size <= 0 ? NETPOOL_CLOSED : NETPOOL_OK;
}

netpool_status zygote_await(struct zygote *zygote, struct zygote_event *event, netpool_error *error)
{
    if (receive(zygote, event, 0) != NETPOOL_OK) {
        return np_error_set(error, NETPOOL_BAD_MODULE, "a module ended the process while it was being loaded");
    }
    if (event->kind == ZYGOTE_BAD_MODULE) {
        return np_error_set(error, NETPOOL_BAD_MODULE, "%s", event->text);
    }
    return NETPOOL_OK;
}

netpool_status zygote_receive(struct zygote *zygote, struct zygote_event *event)
{
    return receive(zygote, event, MSG_DONTWAIT);
}

static netpool_status request(struct zygote *zygote, struct zygote_request *what, const int *fds, size_t fd_count)
{
    what->fd_count = (uint32_t)fd_count;
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(4 * sizeof(int))];
    } control = {0};
    struct iovec data = {.iov_base = what, .iov_len = sizeof *what};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
    if (fd_count > 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
        control.header = (struct cmsghdr){
            .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(fd_count * sizeof(int))};
        memcpy(CMSG_DATA(&control.header), fds, fd_count * sizeof(int));
    }
    ssize_t size;
    do {
        size = sendmsg(zygote->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (size < 0 && errno == EINTR);
    if (size < 0) {
        return errno == EAGAIN || errno == ETOOMANYREFS || errno == ENOBUFS ? NETPOOL_TIMEOUT : NETPOOL_CLOSED;
    }
    return NETPOOL_OK;
}

netpool_status zygote_fork(struct zygote *zygote, unsigned slot, const struct executor_fds *fds)
{
    const int passed[] = {fds->share, fds->bell, fds->output, fds->heap};
    return request(zygote, &(struct zygote_request){.kind = ZYGOTE_FORK, .slot = slot}, passed,
                   fds->heap >= 0 ? 4 : 3);
}

void zygote_kill(struct zygote *zygote, unsigned slot)
{
    (void)!request(zygote, &(struct zygote_request){.kind = ZYGOTE_KILL, .slot = slot}, NULL, 0);
}

netpool_status zygote_symbolize(struct zygote *zygote, int dump_fd, int out_fd)
{
    const int passed[] = {dump_fd, out_fd};
    return request(zygote, &(struct zygote_request){.kind = ZYGOTE_SYMBOLIZE}, passed, 2);
}

void zygote_stop(struct zygote *zygote)
{
    if (zygote->pid <= 0) {
        return;
    }
    close(zygote->fd); /* it ends everything on end of file */
    while (waitpid(zygote->pid, NULL, 0) < 0 && errno == EINTR) {
    }
    *zygote = (struct zygote){.fd = -1};
}
