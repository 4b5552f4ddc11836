// Waiting: poll, select, epoll, and waiting that the library does not see. netmap-spec 2.8; traps 13-16, 50.

#include "check.h"

static void *interrupt(void *thread) {
    usleep(100000);
    pthread_kill(*(pthread_t *)thread, SIGUSR1);
    return NULL;
}

static volatile int signals;
static void on_signal(int number) {
    (void)number;
    signals++;
}

static void consume(struct netmap_ring *r) { r->head = r->cur = r->tail; }

void polling(void) {
    struct port p = open_port("poll", 0), q = open_port("poll2", NR_NO_TX_POLL);
    struct netmap_ring *tx = p.tx[0], *rx = p.rx[0];
    int ends[2];
    if (pipe(ends)) return;
    struct pollfd both[2] = {{p.fd, 0, 0}, {ends[0], POLLIN, 0}};
    // Trap 13.
    tx->head = tx->cur = 1;
    CHECK(poll(both, 2, 0) == 0 && wish(p.fd, WISH_CONSUME, 0, 0, 60000).ring.head == 1, "trap 13: poll with events 0 and timeout 0 sends");
    tx->head = tx->cur = 2;
    if (write(ends[1], "x", 1) != 1) return;
    CHECK(poll(both, 2, -1) == 1 && both[1].revents == POLLIN && wish(p.fd, WISH_CONSUME, 0, 0, 60000).ring.head == 2,
          "trap 13: and when another descriptor is ready");
    struct pollfd only = {q.fd, POLLIN, 0};
    q.tx[0]->head = q.tx[0]->cur = 1;
    CHECK(poll(&only, 1, 0) == 0 && wish(q.fd, WISH_CONSUME, 0, 0, 60000).ring.head == 0, "NR_NO_TX_POLL: poll for POLLIN sends nothing");
    only.events = POLLOUT;
    CHECK(poll(&only, 1, 0) == 1 && only.revents == POLLOUT && wish(q.fd, WISH_CONSUME, 0, 0, 60000).ring.head == 1, "but for POLLOUT it does");
    wish(p.fd, WISH_INJECT, 0, 4, 0);
    both[0].events = 0;
    poll(both, 1, 0);
    CHECK(rx->tail == 0, "without POLLIN receive rings are left alone");
    // Trap 14.
    struct pollfd in = {p.fd, POLLIN | POLLRDNORM, 0};
    CHECK(poll(&in, 1, 1000) == 1 && in.revents == (POLLIN | POLLRDNORM) && rx->tail == 4, "poll imports frames and says so");
    CHECK(poll(&in, 1, 0) == 1, "what was not consumed stays ready");
    rx->cur = 4;
    CHECK(poll(&in, 1, 0) == 0 && rx->head == 0, "trap 14: cur == tail waits, whatever head says");
    rx->cur = 2;
    CHECK(poll(&in, 1, 0) == 1, "trap 18: and cur may go back");
    consume(rx);
    struct pollfd out = {p.fd, POLLOUT, 0};
    CHECK(poll(&out, 1, 0) == 1 && out.revents == POLLOUT, "a ring with room is writable");
    // A full ring, one after the other: POLLOUT waits until the engine has sent.
    for (int i = 0; i < 2; i++) consume(p.tx[i]);
    CHECK(poll(&out, 1, 20) == 0, "trap 14: a full one is not");
    wish(p.fd, WISH_CONSUME, 0, 0, 50);
    uint64_t began = now_us();
    int ready = poll(&out, 1, 2000);
    uint64_t took = now_us() - began;
    CHECK(ready == 1 && out.revents == POLLOUT && took > 30000 && took < 1000000, "until the engine has sent (%u us)", (unsigned)took);
    CHECK(tx->tail != tx->cur, "and the tail has moved");
    // Wake-ups.
    for (int i = 0; i < 3; i++) {
        wish(p.fd, WISH_INJECT, 0, 1, 50);
        began = now_us();
        ready = poll(&in, 1, 2000);
        took = now_us() - began;
        if (ready != 1 || rx->head == rx->tail || took < 30000 || took > 1000000) CHECK(false, "woken: %d after %u us", ready, (unsigned)took);
        consume(rx);
    }
    CHECK(true, "three times asleep, three times woken");
    wish(p.fd, WISH_INJECT, 1, 1, 50);
    CHECK(poll(&in, 1, 2000) == 1 && p.rx[1]->tail == 1, "by any of its rings");
    consume(p.rx[1]);
    // Others in the same call wake it too, and negative and double numbers do not matter.
    struct pollfd many[5] = {{-1, POLLIN, 7}, {p.fd, POLLIN, 0}, {p.fd, POLLOUT, 0}, {ends[0], POLLIN, 0}, {1000, POLLIN, 0}};
    char byte;
    if (read(ends[0], &byte, 1) != 1) return;
    CHECK(poll(many, 4, 0) == 1 && many[0].revents == 0 && many[1].revents == 0 && many[2].revents == POLLOUT && many[3].revents == 0,
          "trap 50: negative and double descriptors");
    CHECK(poll(many, 5, 0) == 2 && many[4].revents == POLLNVAL, "trap 50: and numbers that are not open");
    many[2].fd = -5;
    if (write(ends[1], "x", 1) != 1) return;
    CHECK(poll(many, 4, -1) == 1 && many[3].revents == POLLIN, "another descriptor wakes it");
    if (read(ends[0], &byte, 1) != 1) return;
    // Time.
    began = now_us();
    ready = poll(&in, 1, 100);
    took = now_us() - began;
    CHECK(ready == 0 && took >= 100000 && took < 400000, "a timeout of 100 ms takes %u us", (unsigned)took);
    // A byte that says nothing must not end it, nor make it longer.
    wish(q.fd, WISH_INJECT, 0, 1, 0);
    struct pollfd quiet[1] = {{p.fd, POLLIN, 0}};
    wish(p.fd, WISH_CONSUME, 1, 0, 30);
    began = now_us();
    ready = poll(quiet, 1, 150);
    took = now_us() - began;
    CHECK(ready == 0 && took >= 150000 && took < 450000, "trap 50: nor does a byte without news (%u us)", (unsigned)took);
    // Signals.
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGUSR1, &action, NULL);
    pthread_t me = pthread_self(), thread;
    pthread_create(&thread, NULL, interrupt, &me);
    CHECK(poll(&in, 1, 3000) == -1 && errno == EINTR && signals == 1, "trap 50: EINTR");
    pthread_join(thread, NULL);
    sigset_t blocked, none;
    sigemptyset(&none);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &blocked, NULL);
    pthread_kill(me, SIGUSR1);
    struct timespec second = {1, 0};
    CHECK(signals == 1, "trap 50: a blocked signal waits");
    CHECK(ppoll(&in, 1, &second, &none) == -1 && errno == EINTR && signals == 2, "trap 50: for ppoll to let it in");
    CHECK(second.tv_sec == 1, "whose timeout stays as it was");
    pthread_sigmask(SIG_UNBLOCK, &blocked, NULL);
    // Errors: trap 15.
    rx->head = 12345;
    CHECK(poll(&in, 1, 0) == 1 && (in.revents & POLLERR), "trap 15: what ioctl passes over is POLLERR here");
    CHECK(poll(&in, 1, 0) == 0, "once");
    // Another thread is in the middle of a sync, and finds what we would have found.
    wish(p.fd, WISH_LOCK, 0, (uint32_t)getppid(), 0);
    wish(p.fd, WISH_INJECT, 0, 1, 0);
    wish(p.fd, WISH_LOCK, 0, 0, 50);
    CHECK(poll(&in, 1, 2000) == 1 && rx->head != rx->tail, "trap 21: a ring that is being synced is looked at again");
    consume(rx);
    // Two descriptors of ours, one asleep.
    struct pollfd two[2] = {{p.fd, POLLIN, 0}, {q.fd, POLLIN, 0}};
    CHECK(poll(two, 2, 0) == 1 && two[0].revents == 0 && two[1].revents == POLLIN, "two of ours, one ready");
    consume(q.rx[0]);
    wish(q.fd, WISH_INJECT, 0, 1, 50);
    CHECK(poll(two, 2, 2000) == 1 && two[1].revents == POLLIN, "and woken by the right one");
}

void selecting(void) {
    struct port p = open_port("select", 0);
    int ends[2];
    if (pipe(ends)) return;
    fd_set read, write;
    FD_ZERO(&read);
    FD_ZERO(&write);
    FD_SET(p.fd, &read);
    FD_SET(ends[0], &read);
    FD_SET(p.fd, &write);
    struct timeval none = {0}, some = {0, 100000};
    int last = (ends[0] > p.fd ? ends[0] : p.fd) + 1;
    CHECK(select(last, &read, &write, NULL, &none) == 1 && !FD_ISSET(p.fd, &read) && FD_ISSET(p.fd, &write), "select: writable");
    FD_SET(p.fd, &read);
    CHECK(select(last, &read, NULL, NULL, &some) == 0 && !FD_ISSET(p.fd, &read) && some.tv_usec == 0 && some.tv_sec == 0, "not readable; no time is left");
    FD_SET(p.fd, &read);
    some = (struct timeval){2, 0};
    wish(p.fd, WISH_INJECT, 0, 1, 50);
    CHECK(select(last, &read, NULL, NULL, &some) == 1 && FD_ISSET(p.fd, &read) && some.tv_sec == 1, "woken; the time that was left is told");
    FD_ZERO(&read);
    FD_ZERO(&write);
    FD_SET(p.fd, &read);
    FD_SET(p.fd, &write);
    CHECK(select(last, &read, &write, NULL, NULL) == 2, "counts bits, not descriptors");
    p.rx[0]->head = 99;
    FD_CLR(p.fd, &write);
    FD_SET(p.fd, &read);
    struct timespec t = {0};
    CHECK(pselect(last, &read, NULL, NULL, &t, NULL) == 1 && FD_ISSET(p.fd, &read), "trap 15: an error makes it readable");
    // Programs pass what getdtablesize says, however large, with sets of their usual size.
    struct {
        fd_set set;
        uint8_t guard[1 << 16];
    } *guarded = malloc(sizeof *guarded);
    memset(guarded, 0, sizeof *guarded);
    memset(guarded->guard, 0xa5, sizeof guarded->guard);
    FD_SET(p.fd, &guarded->set);
    bool is_intact = select(1 << 19, NULL, &guarded->set, NULL, &none) == 1 && FD_ISSET(p.fd, &guarded->set);
    for (size_t i = 0; i < sizeof guarded->guard; i++) is_intact &= guarded->guard[i] == 0xa5;
    CHECK(is_intact, "trap 50: select with a count as large as a limit touches its sets only");
    free(guarded);
    // Trap 50: numbers beyond what an fd_set can hold.
    int high = fcntl(p.fd, F_DUPFD, 2000);
    if (high >= 2000) {
        fd_set *large = calloc(4, sizeof(fd_set));
        ((unsigned long *)large)[high / 64] |= 1ul << (high % 64);
        CHECK(select(high + 1, NULL, large, NULL, &none) == 1 && (((unsigned long *)large)[high / 64] >> (high % 64) & 1), "trap 50: select beyond FD_SETSIZE (%d)", high);
    } else {
        printf("ok: (descriptors beyond FD_SETSIZE: the limit forbids them here)\n");
    }
    FD_ZERO(&read);
    FD_SET(p.fd, &read);
    FD_SET(700, &read);
    CHECK(select(701, &read, NULL, NULL, &none) == -1 && errno == EBADF, "a number that is not open: EBADF");
}

void epolling(void) {
    struct port p = open_port("epoll", 0);
    struct netmap_ring *rx = p.rx[0];
    int ends[2], epoll = epoll_create1(0);
    if (pipe(ends)) return;
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = 1}, got[4];
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, p.fd, &e) == 0, "added");
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, p.fd, &e) == -1 && errno == EEXIST, "once");
    e.data.u64 = 2;
    epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &e);
    CHECK(epoll_wait(epoll, got, 4, 0) == 0, "nothing is ready");
    uint64_t began = now_us();
    CHECK(epoll_wait(epoll, got, 4, 100) == 0 && now_us() - began >= 100000, "for 100 ms");
    for (int i = 0; i < 3; i++) {
        wish(p.fd, WISH_INJECT, 0, 1, 50);
        int n = epoll_wait(epoll, got, 4, 2000);
        if (n != 1 || got[0].data.u64 != 1 || got[0].events != EPOLLIN || rx->head == rx->tail) CHECK(false, "woken: %d", n);
        if (i == 1) CHECK(epoll_wait(epoll, got, 4, 0) == 1, "a level stays a level");
        consume(rx);
    }
    CHECK(epoll_wait(epoll, got, 4, 0) == 0, "three times woken; then consumed");
    if (write(ends[1], "x", 1) != 1) return;
    CHECK(epoll_wait(epoll, got, 4, 1000) == 1 && got[0].data.u64 == 2, "others' events are theirs");
    wish(p.fd, WISH_INJECT, 0, 1, 0);
    CHECK(epoll_wait(epoll, got, 4, 1000) == 2, "both at once");
    CHECK(epoll_wait(epoll, got, 1, 1000) == 1 && epoll_wait(epoll, got + 1, 1, 1000) == 1 && got[0].data.u64 + got[1].data.u64 == 3,
          "room for one: each in its turn");
    // An epoll descriptor in a poll set, as QEMU has it.
    char byte;
    if (read(ends[0], &byte, 1) != 1) return;
    struct pollfd nested = {epoll, POLLIN, 0};
    CHECK(poll(&nested, 1, 0) == 1 && nested.revents == POLLIN, "an epoll descriptor with ours ready is readable");
    consume(rx);
    epoll_wait(epoll, got, 4, 0);
    CHECK(poll(&nested, 1, 50) == 0, "and not otherwise");
    wish(p.fd, WISH_INJECT, 0, 1, 50);
    CHECK(poll(&nested, 1, 2000) == 1, "and wakes");
    consume(rx);
    epoll_wait(epoll, got, 4, 0);
    if (write(ends[1], "x", 1) != 1) return;
    CHECK(poll(&nested, 1, 2000) == 1 && nested.revents == POLLIN, "by others in it, too");
    if (read(ends[0], &byte, 1) != 1) return;
    // Writing.
    e = (struct epoll_event){.events = EPOLLOUT, .data.u64 = 1};
    epoll_ctl(epoll, EPOLL_CTL_MOD, p.fd, &e);
    CHECK(epoll_wait(epoll, got, 4, 0) == 1 && got[0].events == EPOLLOUT, "writable while there is room");
    for (int i = 0; i < 2; i++) consume(p.tx[i]);
    CHECK(epoll_wait(epoll, got, 4, 50) == 0, "not when full, although a socket would be");
    wish(p.fd, WISH_CONSUME, 0, 0, 50);
    CHECK(epoll_wait(epoll, got, 4, 2000) == 1 && got[0].events == EPOLLOUT, "and again when the engine has sent");
    // Edges.
    e = (struct epoll_event){.events = EPOLLIN | EPOLLET, .data.u64 = 1};
    epoll_ctl(epoll, EPOLL_CTL_MOD, p.fd, &e);
    wish(p.fd, WISH_INJECT, 0, 1, 0);
    CHECK(epoll_wait(epoll, got, 4, 500) == 1 && got[0].events == EPOLLIN, "EPOLLET: an edge");
    CHECK(epoll_wait(epoll, got, 4, 50) == 0, "is told once");
    wish(p.fd, WISH_INJECT, 0, 1, 0);
    CHECK(epoll_wait(epoll, got, 4, 500) == 1, "the next one is told, consumed or not");
    e.events = EPOLLIN | EPOLLONESHOT;
    consume(rx);
    epoll_ctl(epoll, EPOLL_CTL_MOD, p.fd, &e);
    wish(p.fd, WISH_INJECT, 0, 1, 0);
    CHECK(epoll_wait(epoll, got, 4, 500) == 1 && epoll_wait(epoll, got, 4, 50) == 0, "EPOLLONESHOT: one shot");
    epoll_ctl(epoll, EPOLL_CTL_MOD, p.fd, &e);
    CHECK(epoll_wait(epoll, got, 4, 500) == 1, "until it is loaded again");
    struct timespec second = {1, 0};
    e.events = EPOLLIN;
    epoll_ctl(epoll, EPOLL_CTL_MOD, p.fd, &e);
    CHECK(epoll_pwait2(epoll, got, 4, &second, NULL) == 1 && epoll_pwait(epoll, got, 4, 0, NULL) == 1, "epoll_pwait, epoll_pwait2");
    CHECK(epoll_ctl(epoll, EPOLL_CTL_DEL, p.fd, NULL) == 0 && epoll_wait(epoll, got, 4, 0) == 0, "deleted");
    CHECK(epoll_ctl(epoll, EPOLL_CTL_DEL, p.fd, NULL) == -1 && errno == ENOENT, "once");
    e.data.u64 = 3;
    epoll_ctl(epoll, EPOLL_CTL_ADD, p.fd, &e);
    munmap(p.memory, p.reg.nr_memsize);
    close(p.fd);
    CHECK(epoll_wait(epoll, got, 4, 50) == 0, "closed: the kernel and we forget it");
}

// io_uring, or a program's own poll system call: neither comes by us. The descriptor itself must tell.
static int kernel_poll(int fd, int timeout_ms) {
    struct pollfd poller = {fd, POLLIN, 0};
    struct timespec t = {timeout_ms / 1000, timeout_ms % 1000 * 1000000l};
    return (int)syscall(SYS_ppoll, &poller, 1, &t, NULL, 8);
}

void unseen(void) {
    struct port p = open_port("unseen", 0);
    struct netmap_ring *rx = p.rx[0];
    CHECK(kernel_poll(p.fd, 20) == 0, "B4: nothing has come");
    int woken = 0, spurious = 0;
    for (int i = 0; i < 5; i++) {
        wish(p.fd, WISH_INJECT, 0, 1, 20);
        if (kernel_poll(p.fd, 2000) == 1) woken++;
        ioctl(p.fd, NIOCRXSYNC, NULL);
        if (rx->head == rx->tail) CHECK(false, "woken for nothing");
        CHECK(kernel_poll(p.fd, 0) == 1, "B4: it is readable while there are frames");
        consume(rx);
        usleep(1000);
        ioctl(p.fd, NIOCRXSYNC, NULL);
        spurious += kernel_poll(p.fd, 0);
    }
    CHECK(woken == 5, "B4: woken each time by the descriptor itself");
    CHECK(spurious == 0, "B4: and not readable when all is done");
    // A program that loops is not sent a byte for each frame.
    uint32_t before = look_at(p.fd).sent;
    for (int i = 0; i < 20; i++) {
        wish(p.fd, WISH_INJECT, 0, 1, 0);
        for (int j = 0; j < 1000; j++) ioctl(p.fd, NIOCRXSYNC, NULL);
        consume(rx);
        for (int j = 0; j < 1000; j++) ioctl(p.fd, NIOCRXSYNC, NULL);
    }
    uint32_t sent = look_at(p.fd).sent - before;
    CHECK(sent <= 22, "B4: a busy poller gets no storm of bytes (%u for 20 arrivals that each followed a request)", sent);
    // A program that polls by us gets one byte a sleep.
    struct pollfd in = {p.fd, POLLIN, 0};
    ioctl(p.fd, NIOCRXSYNC, NULL);
    poll(&in, 1, 10);
    before = look_at(p.fd).sent;
    for (int i = 0; i < 5; i++) {
        wish(p.fd, WISH_INJECT, 0, 1, 20);
        if (poll(&in, 1, 2000) != 1) CHECK(false, "not woken");
        consume(rx);
    }
    sent = look_at(p.fd).sent - before;
    CHECK(sent <= 6, "a sleeper gets one byte a sleep (%u for 5)", sent);
}
