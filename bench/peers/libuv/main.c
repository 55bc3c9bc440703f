// A room server on libuv: what `cargo xtask bench` measures pogu against. The choices are in the README.

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server.h"

enum { BACKLOG = 4096 };

static void check(const char *what, int result) {
    if (result < 0) {
        fprintf(stderr, "libuv: %s: %s\n", what, uv_strerror(result));
        exit(1);
    }
}

_Noreturn static void refuse(const char *why, const char *argument) {
    fprintf(stderr, "libuv: %s: %s\nusage: libuv [--listen ADDRESS:PORT] [--workers 1]\n", why, argument);
    exit(2);
}

static struct sockaddr_in parse_address(const char *text) {
    struct sockaddr_in address;
    char host[INET_ADDRSTRLEN] = "";
    const char *colon = strrchr(text, ':');
    char *end = NULL;
    unsigned long port = colon ? strtoul(colon + 1, &end, 10) : 0;
    if (!colon || end == colon + 1 || *end || port > UINT16_MAX || (size_t)(colon - text) >= sizeof host) {
        refuse("no IPv4 address and port", text);
    }
    memcpy(host, text, (size_t)(colon - text));
    if (uv_ip4_addr(host, (int)port, &address) != 0) {
        refuse("no IPv4 address and port", text);
    }
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
            refuse("there is one loop only, --workers must be 1", value);
        }
    }
    return address;
}

static void announce(const uv_tcp_t *listener) {
    struct sockaddr_in address;
    int length = sizeof address;
    char host[INET_ADDRSTRLEN];
    check("address", uv_tcp_getsockname(listener, (struct sockaddr *)&address, &length));
    uv_ip4_name(&address, host, sizeof host);
    printf("libuv serves on %s:%u, 1 workers\n", host, ntohs(address.sin_port));
    fflush(stdout);
}

static void on_terminated(uv_signal_t *handle, int number) {
    (void)number;
    uv_stop(handle->loop);
}

static void close_handle(uv_handle_t *handle, void *listener) {
    if (uv_is_closing(handle)) {
        return;
    }
    if (handle->type == UV_TCP && handle != listener) {
        session_end((struct session *)handle);
    } else {
        uv_close(handle, NULL);
    }
}

int main(int count, char **arguments) {
    struct sockaddr_in address = parse(count, arguments);
    uv_loop_t *loop = uv_default_loop();
    uv_tcp_t listener;
    uv_signal_t terminated;
    uv_check_t pass;
    signal(SIGPIPE, SIG_IGN);
    check("signals", uv_signal_init(loop, &terminated));
    check("SIGTERM", uv_signal_start(&terminated, on_terminated, SIGTERM));
    check("check", uv_check_init(loop, &pass));
    check("check", uv_check_start(&pass, rooms_flush));
    check("socket", uv_tcp_init(loop, &listener));
    check("bind", uv_tcp_bind(&listener, (const struct sockaddr *)&address, 0));
    check("listen", uv_listen((uv_stream_t *)&listener, BACKLOG, session_accept));
    announce(&listener);
    uv_run(loop, UV_RUN_DEFAULT);
    uv_walk(loop, close_handle, &listener);
    uv_run(loop, UV_RUN_DEFAULT);
    uv_loop_close(loop);
    printf("%lu sessions did not read and were ended\n", sessions_cut_off);
    return 0;
}
