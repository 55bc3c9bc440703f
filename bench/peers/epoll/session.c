// One connection. What is read lands in one buffer for all sessions; whole frames that are echoed leave from there, with
// one send. Only what has not come whole, and what the socket does not take, is copied into memory of the session.

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "epoll.h"

enum {
    PARTIAL_BYTES_MAX = UINT16_MAX,
    READ_BYTES = 256 * 1024,
};

unsigned long sessions_cut_off;

static struct session *all, *ended;

// The unfinished frame of before is put in front of what comes.
static char incoming[PARTIAL_BYTES_MAX + READ_BYTES];

static uint16_t u16_at(const char *bytes) {
    const unsigned char *unsigned_bytes = (const unsigned char *)bytes;
    return (uint16_t)(unsigned_bytes[0] | unsigned_bytes[1] << 8);
}

static uint32_t u32_at(const char *bytes) {
    return u16_at(bytes) | (uint32_t)u16_at(bytes + 2) << 16;
}

void session_accepted(int epoll, int socket) {
    struct session *session = calloc(1, sizeof *session);
    struct epoll_event event = {
        // Room to write is told only after a send that found none: it can be asked for once and for all.
        .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
        .data.ptr = session,
    };
    if (!session || epoll_ctl(epoll, EPOLL_CTL_ADD, socket, &event) < 0) {
        free(session);
        close(socket);
        return;
    }
    session->socket = socket;
    session->next = all;
    if (all) {
        all->previous = session;
    }
    all = session;
}

static void session_end(struct session *session) {
    if (!session->ended) {
        session->ended = true;
        session->next_ended = ended;
        ended = session;
    }
}

void sessions_close_ended(void) {
    while (ended) {
        struct session *session = ended;
        // Leaving lets the room hear what it said; that may end others, which are put in front.
        ended = session->next_ended;
        room_leave(session);
        *(session->previous ? &session->previous->next : &all) = session->next;
        if (session->next) {
            session->next->previous = session->previous;
        }
        close(session->socket);
        free(session->partial);
        free(session->unsent);
        free(session);
    }
}

void sessions_close_all(void) {
    for (struct session *session = all; session; session = session->next) {
        session_end(session);
    }
    sessions_close_ended();
}

// What was answered leaves, then the session ends.
static void session_finish(struct session *session) {
    session->finishing = true;
    room_leave(session);
    if (!session->unsent) {
        session_end(session);
    }
}

static void keep(struct session *session, const char *bytes, size_t length) {
    size_t waiting = session->unsent_length - session->sent;
    if (waiting + length > UNSENT_BYTES_MAX) {
        sessions_cut_off++;
        session_end(session);
        return;
    }
    if (session->unsent_length + length > session->unsent_capacity) {
        size_t capacity = 2 * (waiting + length);
        char *unsent = malloc(capacity);
        if (!unsent) {
            session_end(session);
            return;
        }
        if (waiting) {
            memcpy(unsent, session->unsent + session->sent, waiting);
        }
        free(session->unsent);
        session->unsent = unsent;
        session->unsent_capacity = capacity;
        session->unsent_length = waiting;
        session->sent = 0;
    }
    memcpy(session->unsent + session->unsent_length, bytes, length);
    session->unsent_length += length;
}

void session_send(struct session *session, const char *bytes, size_t length) {
    if (session->ended) {
        return;
    }
    if (session->unsent) {
        keep(session, bytes, length);
        return;
    }
    ssize_t sent = send(session->socket, bytes, length, MSG_NOSIGNAL);
    if (sent == (ssize_t)length) {
        return;
    }
    if (sent < 0 && errno != EAGAIN) {
        session_end(session);
        return;
    }
    size_t taken = sent < 0 ? 0 : (size_t)sent;
    keep(session, bytes + taken, length - taken);
}

void session_writable(struct session *session) {
    if (session->ended || !session->unsent) {
        return;
    }
    size_t waiting = session->unsent_length - session->sent;
    ssize_t sent = send(session->socket, session->unsent + session->sent, waiting, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN) {
            session_end(session);
        }
        return;
    }
    session->sent += (size_t)sent;
    if ((size_t)sent < waiting) {
        return; // The socket is full again: epoll will tell of room.
    }
    free(session->unsent);
    session->unsent = NULL;
    session->sent = session->unsent_length = session->unsent_capacity = 0;
    if (session->finishing) {
        session_end(session);
    }
}

// Answers leave behind what the session itself has said before.
static void answer(struct session *session, const char *bytes, size_t length) {
    if (length) {
        if (session->room) {
            room_flush(session->room);
        }
        session_send(session, bytes, length);
    }
}

// Takes all whole frames. Consecutive ones that are answered as they are leave together. False at a violation.
static bool take_frames(struct session *session, size_t length, size_t *taken) {
    size_t at = 0, answered = 0;
    bool good = true;
    while (good && length - at >= HEADER_BYTES) {
        const char *frame = incoming + at;
        size_t size = u16_at(frame);
        if (size >= HEADER_BYTES && length - at < size) {
            break;
        }
        uint16_t id = u16_at(frame + 2);
        if (size < HEADER_BYTES) {
            good = false;
        } else if (id == ID_ECHO) {
            at += size;
        } else if (id == ID_JOIN && size == HEADER_BYTES + sizeof(uint32_t)) {
            answer(session, incoming + answered, at - answered);
            answered = at;
            room_join(session, u32_at(frame + HEADER_BYTES));
            at += size;
        } else if (id == ID_SAY && session->room) {
            answer(session, incoming + answered, at - answered);
            room_say(session->room, frame, size);
            at += size;
            answered = at;
        } else {
            good = false;
        }
    }
    answer(session, incoming + answered, at - answered);
    *taken = at;
    return good;
}

static bool keep_partial(struct session *session, const char *bytes, size_t length) {
    free(session->partial);
    session->partial = length ? malloc(length) : NULL;
    session->partial_length = length;
    if (session->partial) {
        memcpy(session->partial, bytes, length);
    }
    return !length || session->partial;
}

// One recv. False if nothing more can be read: nothing there, or the session finishes.
static bool receive(struct session *session, bool *filled) {
    size_t kept = session->partial_length, space = sizeof incoming - kept;
    if (kept) {
        memcpy(incoming, session->partial, kept);
    }
    ssize_t received = recv(session->socket, incoming + kept, space, 0);
    if (received <= 0) {
        if (received == 0) {
            session_finish(session);
        } else if (errno != EAGAIN && errno != EINTR) {
            session_end(session);
        }
        return false;
    }
    *filled = (size_t)received == space;
    size_t length = kept + (size_t)received, taken;
    if (!take_frames(session, length, &taken)) {
        session_finish(session);
        return false;
    }
    if (!keep_partial(session, incoming + taken, length - taken)) {
        session_end(session);
    }
    return !session->ended;
}

void session_readable(struct session *session, int epoll, uint32_t events) {
    bool filled = false, more;
    do {
        if (session->ended || session->finishing) {
            return;
        }
        more = receive(session, &filled);
        // Who has finished sends nothing that would be told again: everything up to its end is read now.
    } while (more && events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR));
    if (more && filled) {
        // There may be more that was told already. Asking anew has it told again, behind the others.
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = session};
        epoll_ctl(epoll, EPOLL_CTL_MOD, session->socket, &event);
    }
}
