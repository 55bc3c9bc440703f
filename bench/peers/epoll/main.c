// A room server on bare epoll: what `cargo xtask bench` measures pogu against. The choices are in the README.

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "epoll.h"

enum {
    BACKLOG = 4096,
    EVENTS_MAX = 1024,
    // Connections that one pass accepts, so that those who are there are served in between.
    ACCEPTS_MAX = 256,
    // How long connections wait when there are no descriptors for them.
    PAUSE_MS = 100,
};

_Noreturn static void fail(const char *what) {
    perror(what);
    exit(1);
}

_Noreturn static void refuse(const char *why, const char *argument) {
    fprintf(stderr, "epoll: %s: %s\nusage: epoll [--listen ADDRESS:PORT] [--workers 1]\n", why, argument);
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
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0) {
        fail("socket");
    }
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    // Linux hands it on to each accepted connection.
    setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, BACKLOG) < 0) {
        fail("listen");
    }
    socklen_t length = sizeof address;
    char host[INET_ADDRSTRLEN];
    getsockname(listener, (struct sockaddr *)&address, &length);
    inet_ntop(AF_INET, &address.sin_addr, host, sizeof host);
    printf("epoll serves on %s:%u, 1 workers\n", host, ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

// SIGTERM, as something to wait for.
static int termination(void) {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    return signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
}

static void watch(int epoll, int descriptor, void *tag) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = tag};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) < 0) {
        fail("epoll_ctl");
    }
}

// False if there are no descriptors: the listener would be told as ready again and again.
static bool accept_some(int epoll, int listener) {
    for (int accepted = 0; accepted < ACCEPTS_MAX; accepted++) {
        int socket = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (socket >= 0) {
            session_accepted(epoll, socket);
        } else if (errno == EAGAIN) {
            return true;
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            return false;
        }
        // Anything else concerns a connection that has gone already.
    }
    return true;
}

static void serve(int epoll, int terminated, int listener) {
    static char accepts, terminates;
    bool accepting = true;
    watch(epoll, terminated, &terminates);
    watch(epoll, listener, &accepts);
    for (;;) {
        struct epoll_event events[EVENTS_MAX];
        int count = epoll_wait(epoll, events, EVENTS_MAX, accepting ? -1 : PAUSE_MS);
        if (!accepting) {
            accepting = true;
            watch(epoll, listener, &accepts);
        }
        for (int at = 0; at < count; at++) {
            struct epoll_event event = events[at];
            if (event.data.ptr == &terminates) {
                return;
            }
            if (event.data.ptr == &accepts) {
                accepting = accept_some(epoll, listener);
                continue;
            }
            if (event.events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) {
                session_writable(event.data.ptr);
            }
            if (event.events & ~(uint32_t)EPOLLOUT) {
                session_readable(event.data.ptr, epoll, event.events);
            }
        }
        rooms_flush();
        sessions_close_ended();
        if (!accepting) {
            epoll_ctl(epoll, EPOLL_CTL_DEL, listener, NULL);
        }
    }
}

int main(int count, char **arguments) {
    struct sockaddr_in address = parse(count, arguments);
    int epoll = epoll_create1(EPOLL_CLOEXEC), terminated = termination();
    if (epoll < 0 || terminated < 0) {
        fail("epoll");
    }
    serve(epoll, terminated, listen_on(address));
    sessions_close_all();
    printf("%lu sessions did not read and were ended\n", sessions_cut_off);
    return 0;
}
