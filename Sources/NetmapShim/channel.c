// Requests to the engine and their answers, on the process's own connection.

#include "shim.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

enum { PATIENCE = 15 }; // seconds that an engine may take for an answer

static int channel = -1;
static uint64_t cookie; // of the channel
static int lock;
// What the engine's socket is called, as the engine sees it: a path can have other names.
static char peer[sizeof((struct sockaddr_un *)0)->sun_path];
static size_t peer_length;

static void take(sigset_t *saved) {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, saved);
    for (int i = 0; __atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE); i++) {
        if (i < 100) sched_yield();
        else nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
    }
}

static void give(const sigset_t *saved) {
    __atomic_store_n(&lock, 0, __ATOMIC_RELEASE);
    pthread_sigmask(SIG_SETMASK, saved, NULL);
}

static void hang_up(void) {
    sigset_t saved;
    table_lock(&saved);
    if (channel >= 0) internal_close(channel, cookie);
    channel = -1;
    cookie = 0;
    table_unlock(&saved);
}

static sigset_t fork_signals;
void channel_before_fork(void) { take(&fork_signals); }

void channel_after_fork(bool is_child) {
    // Answers on the parent's connection are the parent's.
    if (is_child) hang_up();
    give(&fork_signals);
}

void channel_make_way(int fd) {
    sigset_t saved;
    take(&saved);
    int moved = internal_make_way(fd);
    if (fd == channel) channel = moved;
    give(&saved);
}

bool channel_has_cookie(uint64_t other) { return other == __atomic_load_n(&cookie, __ATOMIC_RELAXED); }

bool channel_peer_matches(const char *path, size_t length) {
    while (length > 0 && path[length - 1] == 0) length--;
    if (peer_length && length == peer_length && memcmp(path, peer, length) == 0) return true;
    return length == strlen(shim_socket) && memcmp(path, shim_socket, length) == 0;
}

static int connect_to_engine(void) {
    static bool said_missing, said_refused;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(shim_socket);
    if (length == 0 || length >= sizeof address.sun_path) return -ENOENT;
    memcpy(address.sun_path, shim_socket, length);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    struct timeval patience = {.tv_sec = PATIENCE};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        int error = errno;
        real.close(fd);
        if (error == EACCES || error == EPERM) {
            shim_say(&said_refused, "the engine at '%s' belongs to somebody else (%s)", shim_socket, strerror(error));
            return -EACCES;
        }
        shim_say(&said_missing, "%s: no engine answers at '%s' (%s); 'wirevale serve' and 'wirevale shim' start one",
                 shim_device, shim_socket, strerror(error));
        return -ENOENT;
    }
    union {
        struct sockaddr_un address;
        struct sockaddr_storage room;
    } name;
    socklen_t size = sizeof name;
    if (getpeername(fd, (struct sockaddr *)&name.room, &size) == 0 && size > offsetof(struct sockaddr_un, sun_path)) {
        size_t count = size - offsetof(struct sockaddr_un, sun_path);
        while (count > 0 && name.address.sun_path[count - 1] == 0) count--;
        memcpy(peer, name.address.sun_path, count);
        peer_length = count;
    }
    channel = internal_adopt(fd);
    cookie = socket_cookie(channel);
    return 0;
}

// 0, or an errno: EPIPE says that the engine saw nothing of it.
static int send_request(unsigned op, int descriptor, const struct exchange *e) {
    struct nm_call call = {NM_WIRE_VERSION, (uint16_t)op, (uint32_t)(e->head_length + e->body_length)};
    struct iovec pieces[3] = {
        {&call, sizeof call}, {(void *)e->head, e->head_length}, {(void *)e->body, e->body_length}};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 3};
    if (descriptor >= 0) {
        memset(&control, 0, sizeof control);
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof control.bytes;
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &descriptor, sizeof descriptor);
    }
    ssize_t sent;
    do sent = sendmsg(channel, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent >= 0) return 0;
    return errno == ECONNRESET || errno == ENOTCONN ? EPIPE : errno;
}

// The length of the payload, or -errno.
static int receive_answer(struct exchange *e) {
    struct nm_answer answer;
    struct iovec pieces[2] = {{&answer, sizeof answer}, {e->answer, e->answer_room}};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * 4)];
    } control;
    struct msghdr message = {
        .msg_iov = pieces, .msg_iovlen = 2, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    ssize_t count;
    do count = recvmsg(channel, &message, MSG_CMSG_CLOEXEC);
    while (count < 0 && errno == EINTR);
    if (count < 0) return errno == EAGAIN || errno == EWOULDBLOCK ? -ETIMEDOUT : -errno;
    int found = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
        for (size_t at = CMSG_LEN(0); at + sizeof(int) <= c->cmsg_len; at += sizeof(int)) {
            int fd;
            memcpy(&fd, (char *)c + at, sizeof fd);
            if (found < 2) e->received[found++] = fd;
            else real.close(fd);
        }
    }
    if (count == 0) return -EPIPE;
    if ((size_t)count < sizeof answer || answer.length != (size_t)count - sizeof answer || (message.msg_flags & MSG_TRUNC))
        return -EPROTO;
    e->error = answer.error;
    return (int)answer.length;
}

int channel_call(unsigned op, int descriptor, struct exchange *e) {
    static bool said_late, said_odd;
    e->received[0] = e->received[1] = -1;
    sigset_t saved;
    take(&saved);
    int result = -ENXIO;
    for (int attempt = 0; attempt < 2; attempt++) {
        // A program that closed every number took ours with it, and may have used it again.
        if (channel >= 0 && !internal_is_ours(channel)) hang_up();
        if (channel < 0 && (result = connect_to_engine()) < 0) break;
        int error = send_request(op, descriptor, e);
        result = error ? -error : receive_answer(e);
        if (result >= 0) break;
        for (int i = 0; i < 2; i++) {
            if (e->received[i] >= 0) real.close(e->received[i]);
            e->received[i] = -1;
        }
        if (error && error != EPIPE) break; // the request was no good, the connection is
        hang_up();
        if (result == -EPIPE && error) continue; // a new engine, perhaps
        if (result == -ETIMEDOUT) shim_say(&said_late, "the engine does not answer after %d s", PATIENCE);
        else if (result == -EPIPE) shim_say(&said_odd, "the engine at '%s' ended before it answered", shim_socket);
        else shim_say(&said_odd, "the engine at '%s' gave no answer (%s); is it of another version?", shim_socket, strerror(-result));
        result = -ENXIO;
        break;
    }
    if (result == -EPIPE) result = -ENXIO;
    give(&saved);
    return result;
}
