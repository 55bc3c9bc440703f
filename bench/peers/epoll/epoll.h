// A room server on bare epoll: sessions, rooms, and what a pass of the loop leaves for its end.
//
//   wait -> for each ready session: one recv, its answers in one send -> each room that heard something: one send per
//   member -> sessions that ended are closed and freed
//
// A session that ends is only marked: events of the same pass, and loops over a room, may still lead to it.

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HEADER_BYTES = 4,
    ID_JOIN = 1,
    ID_SAY = 2,
    ID_ECHO = 3,
    // What may wait for a client that does not read. More ends its session.
    UNSENT_BYTES_MAX = 1024 * 1024,
};

struct room;

struct session {
    int socket;
    bool finishing; // reads no more; closed when everything has left
    bool ended;
    struct room *room;
    size_t place; // in the room's list
    // The beginning of a frame that has not come whole.
    char *partial;
    size_t partial_length;
    // What the socket did not take: unsent[sent..unsent_length].
    char *unsent;
    size_t sent, unsent_length, unsent_capacity;
    struct session *previous, *next, *next_ended;
};

// session.c
extern unsigned long sessions_cut_off;
void session_accepted(int epoll, int socket);
void session_readable(struct session *session, int epoll, uint32_t events);
void session_writable(struct session *session);
// Sends, or keeps what the socket does not take.
void session_send(struct session *session, const char *bytes, size_t length);
// Closes what this pass has ended.
void sessions_close_ended(void);
void sessions_close_all(void);

// room.c
void room_join(struct session *session, uint32_t number);
void room_leave(struct session *session);
// Everybody in the room will hear it at the end of this pass.
void room_say(struct room *room, const char *frame, size_t size);
// What was said so far leaves before anything else does.
void room_flush(struct room *room);
void rooms_flush(void);
