// An echo server on bare io_uring: the lower bound that `cargo xtask bench` shows beside pogu. The choices are in the README.

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "limit.h"

enum {
    BACKLOG = 4096,
    SUBMISSIONS = 1024,
    COMPLETIONS = 8192,
    FILES_MAX = 65536,
    // How long connections wait when there is no place for them.
    PAUSE_MS = 100,
};

struct io_uring ring;

_Noreturn void fail(const char *what, int error) {
    fprintf(stderr, "limit: %s: %s\n", what, strerror(error));
    exit(1);
}

_Noreturn static void refuse(const char *why, const char *argument) {
    fprintf(stderr, "limit: %s: %s\nusage: limit [--listen ADDRESS:PORT] [--workers 1]\n", why, argument);
    exit(2);
}

static struct sockaddr_in parse_address(const char *text) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    char host[INET_ADDRSTRLEN] = "";
    const char *colon = strrchr(text, ':');
    char *end = NULL;
    unsigned long port = colon ? strtoul(colon + 1, &end, 10) : 0;
    if (!colon || end == colon + 1 || *end || port > UINT16_MAX || (size_t)(colon - text) >= sizeof host) {
        refuse("no IPv4 address and port", text);
    }
    memcpy(host, text, (size_t)(colon - text));
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) {
        refuse("no IPv4 address and port", text);
    }
    address.sin_port = htons((uint16_t)port);
    return address;
}

static struct sockaddr_in parse(int count, char **arguments) {
    struct sockaddr_in address = parse_address("127.0.0.1:7777");
    for (int at = 1; at < count; at += 2) {
        const char *value = at + 1 < count ? arguments[at + 1] : "";
        if (strcmp(arguments[at], "--listen") == 0) {
            address = parse_address(value);
        } else if (strcmp(arguments[at], "--workers") != 0) {
            refuse("unknown argument", arguments[at]);
        } else if (strcmp(value, "1") != 0) {
            refuse("there is one thread only, --workers must be 1", value);
        }
    }
    return address;
}

static int listen_on(struct sockaddr_in address) {
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0) {
        fail("socket", errno);
    }
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    // Linux hands it on to each accepted connection.
    setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, BACKLOG) < 0) {
        fail("listen", errno);
    }
    socklen_t length = sizeof address;
    char host[INET_ADDRSTRLEN];
    getsockname(listener, (struct sockaddr *)&address, &length);
    inet_ntop(AF_INET, &address.sin_addr, host, sizeof host);
    printf("limit serves on %s:%u, 1 workers\n", host, ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

static void setup(void) {
    struct io_uring_params parameters = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE,
        .cq_entries = COMPLETIONS,
    };
    struct rlimit files;
    int result = io_uring_queue_init_params(SUBMISSIONS, &ring, &parameters);
    if (result < 0) {
        fail("io_uring", -result);
    }
    result = io_uring_register_ring_fd(&ring);
    if (result < 0) {
        fail("registering the ring", -result);
    }
    // Connections live in the ring's own table: no operation has to look up and hold a descriptor.
    getrlimit(RLIMIT_NOFILE, &files);
    result = io_uring_register_files_sparse(&ring, files.rlim_cur < FILES_MAX ? (unsigned)files.rlim_cur : FILES_MAX);
    if (result < 0) {
        fail("registering files", -result);
    }
    buffers_setup();
}

struct io_uring_sqe *entry(void) {
    struct io_uring_sqe *entry;
    while (!(entry = io_uring_get_sqe(&ring))) {
        io_uring_submit(&ring);
    }
    return entry;
}

void label(struct io_uring_sqe *entry, struct session *session, enum operation operation) {
    io_uring_sqe_set_data64(entry, (uintptr_t)session | operation);
}

// SIGTERM, as something to wait for.
static void await_termination(void) {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    int descriptor = signalfd(-1, &signals, SFD_CLOEXEC);
    if (descriptor < 0) {
        fail("signalfd", errno);
    }
    struct io_uring_sqe *poll = entry();
    io_uring_prep_poll_add(poll, descriptor, POLLIN);
    label(poll, NULL, TERMINATED);
}

static void accept_connections(int listener) {
    struct io_uring_sqe *accept = entry();
    io_uring_prep_multishot_accept_direct(accept, listener, NULL, NULL, 0);
    label(accept, NULL, ACCEPTED);
}

static void accepted(int listener, int result, uint32_t flags) {
    static struct __kernel_timespec pause = {.tv_nsec = PAUSE_MS * 1000000};
    if (result >= 0) {
        session_accepted(result);
    }
    if (flags & IORING_CQE_F_MORE) {
        return;
    }
    if (result == -EMFILE || result == -ENFILE || result == -ENOMEM || result == -ENOBUFS) {
        struct io_uring_sqe *timeout = entry();
        io_uring_prep_timeout(timeout, &pause, 0, 0);
        label(timeout, NULL, PAUSED);
    } else {
        accept_connections(listener);
    }
}

// Looks at one completion. False if it is the last.
static bool complete(const struct io_uring_cqe *completion, int listener) {
    uint64_t data = completion->user_data;
    struct session *session = (struct session *)(uintptr_t)(data & ~(uint64_t)OPERATION_MASK);
    switch ((enum operation)(data & OPERATION_MASK)) {
    case RECEIVED:
        session_received(session, completion->res, completion->flags);
        break;
    case SENT:
        session_sent(session, completion->res);
        break;
    case ACCEPTED:
        accepted(listener, completion->res, completion->flags);
        break;
    case PAUSED:
        accept_connections(listener);
        break;
    case TERMINATED:
        return false;
    default:
        break;
    }
    return true;
}

static void serve(int listener) {
    bool serving = true;
    accept_connections(listener);
    while (serving) {
        int result = io_uring_submit_and_wait(&ring, 1);
        if (result < 0 && result != -EINTR && result != -EAGAIN && result != -EBUSY) {
            fail("io_uring_enter", -result);
        }
        unsigned head, count = 0;
        struct io_uring_cqe *completion;
        io_uring_for_each_cqe(&ring, head, completion) {
            serving = complete(completion, listener) && serving;
            count++;
        }
        io_uring_cq_advance(&ring, count);
        sessions_resume();
    }
}

int main(int count, char **arguments) {
    struct sockaddr_in address = parse(count, arguments);
    setup();
    await_termination();
    serve(listen_on(address));
    io_uring_queue_exit(&ring);
    sessions_free();
    printf("%lu sessions did not read and were ended\n", sessions_cut_off);
    return 0;
}
