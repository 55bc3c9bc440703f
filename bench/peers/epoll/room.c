// Rooms: everything that is said in a room during one pass is put into one buffer, once, and each member gets that buffer
// with one send. So a frame costs one copy per room instead of one per member, and all members hear one order.
//
// Who joins or leaves in the middle of a pass flushes the room first: it hears what was said while it was a member.

#include <stdlib.h>
#include <string.h>

#include "epoll.h"

enum {
    BUCKETS = 4096,
    // A pass in which more is said does not gather it all.
    GATHERED_BYTES_MAX = 256 * 1024,
};

struct room {
    uint32_t number;
    struct room *next_in_bucket;
    struct session **members;
    size_t members_length, members_capacity;
    char *said;
    size_t said_length, said_capacity;
    bool listed; // among those to flush
    struct room *next_to_flush;
};

static struct room *buckets[BUCKETS];
static struct room *to_flush;

static void *resized(void *memory, size_t size) {
    memory = realloc(memory, size);
    if (!memory) {
        abort();
    }
    return memory;
}

static struct room *room_get(uint32_t number) {
    struct room **bucket = &buckets[number % BUCKETS];
    for (struct room *room = *bucket; room; room = room->next_in_bucket) {
        if (room->number == number) {
            return room;
        }
    }
    struct room *room = resized(NULL, sizeof *room);
    *room = (struct room){.number = number, .next_in_bucket = *bucket};
    *bucket = room;
    return room;
}

void room_join(struct session *session, uint32_t number) {
    room_leave(session);
    struct room *room = room_get(number);
    room_flush(room);
    if (room->members_length == room->members_capacity) {
        room->members_capacity = room->members_capacity ? 2 * room->members_capacity : 4;
        room->members = resized(room->members, room->members_capacity * sizeof *room->members);
    }
    session->room = room;
    session->place = room->members_length;
    room->members[room->members_length++] = session;
}

void room_leave(struct session *session) {
    struct room *room = session->room;
    if (!room) {
        return;
    }
    room_flush(room);
    session->room = NULL;
    struct session *last = room->members[--room->members_length];
    room->members[session->place] = last;
    last->place = session->place;
}

void room_say(struct room *room, const char *frame, size_t size) {
    if (room->said_length + size > room->said_capacity) {
        room->said_capacity = 2 * (room->said_length + size);
        room->said = resized(room->said, room->said_capacity);
    }
    memcpy(room->said + room->said_length, frame, size);
    room->said_length += size;
    if (!room->listed) {
        room->listed = true;
        room->next_to_flush = to_flush;
        to_flush = room;
    }
    if (room->said_length > GATHERED_BYTES_MAX) {
        room_flush(room);
    }
}

void room_flush(struct room *room) {
    for (size_t place = 0; room->said_length && place < room->members_length; place++) {
        session_send(room->members[place], room->said, room->said_length);
    }
    room->said_length = 0;
}

void rooms_flush(void) {
    for (struct room *room = to_flush; room; room = room->next_to_flush) {
        room_flush(room);
        room->listed = false;
    }
    to_flush = NULL;
}
