// A room server on libuv: one loop, its callbacks, and a check handle that ends each pass.
//
//   read callback -> answers of one read leave with one uv_try_write; what is said waits in the room
//   check callback, behind all reads of a pass -> one uv_try_write per member of each room that heard something
//
// What a socket does not take is copied into a uv_write of its own.

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

enum {
    HEADER_BYTES = 4,
    ID_JOIN = 1,
    ID_SAY = 2,
    ID_ECHO = 3,
    // What may wait for a client that does not read, its bookkeeping included. More ends its session.
    UNSENT_BYTES_MAX = 1024 * 1024,
};

struct room;

struct session {
    uv_tcp_t stream;
    uv_shutdown_t finish;
    struct room *room;
    size_t place; // in the room's list
    // The beginning of a frame that has not come whole.
    char *partial;
    size_t partial_length;
    size_t unsent;
};

// session.c
extern unsigned long sessions_cut_off;
void session_accept(uv_stream_t *listener, int status);
// Sends, or queues what the socket does not take.
void session_send(struct session *session, const char *bytes, size_t length);
void session_end(struct session *session);

// room.c
void room_join(struct session *session, uint32_t number);
void room_leave(struct session *session);
// Everybody in the room will hear it at the end of this pass.
void room_say(struct room *room, const char *frame, size_t size);
// What was said so far leaves before anything else does.
void room_flush(struct room *room);
void rooms_flush(uv_check_t *check);
