// One connection: a receive that goes on by itself, and one send at a time.
//
// Whole frames leave from the buffer they were received into. What comes while a send is in flight, and what has not come
// whole, waits in memory of the session; all of it that is whole leaves with the next send.

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "limit.h"

enum { NO_BUFFER = -1 };

struct session {
    int slot; // in the ring's table of files
    bool receiving, starved, sending;
    bool finishing; // takes no more; closed when everything has left
    bool broken;    // closed as soon as its operations have come back
    bool cancelled;
    // In flight: leaving[sent..leaving_length], in a buffer of the ring or in memory that `waiting` was.
    char *leaving;
    int leaving_buffer;
    size_t sent, leaving_length;
    // waiting[0..whole] are whole frames, waiting[whole..waiting_length] has not come whole.
    char *waiting;
    size_t whole, waiting_length, waiting_capacity;
    struct session *previous, *next, *next_starved;
};

unsigned long sessions_cut_off;

static struct session *all, *starved;

static void receive(struct session *session) {
    struct io_uring_sqe *receive = entry();
    io_uring_prep_recv_multishot(receive, session->slot, NULL, 0, 0);
    receive->flags |= IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;
    receive->buf_group = BUFFER_GROUP;
    label(receive, session, RECEIVED);
    session->receiving = true;
}

static void close_slot(int slot) {
    struct io_uring_sqe *close = entry();
    io_uring_prep_close_direct(close, (unsigned)slot);
    close->flags |= IOSQE_CQE_SKIP_SUCCESS;
    label(close, NULL, IGNORED);
}

void session_accepted(int slot) {
    struct session *session = calloc(1, sizeof *session);
    if (!session) {
        close_slot(slot);
        return;
    }
    session->slot = slot;
    session->next = all;
    if (all) {
        all->previous = session;
    }
    all = session;
    receive(session);
}

// What is in flight comes back at once.
static void cancel(struct session *session) {
    if (!session->cancelled) {
        session->cancelled = true;
        struct io_uring_sqe *cancel = entry();
        io_uring_prep_cancel_fd(cancel, session->slot, IORING_ASYNC_CANCEL_FD_FIXED | IORING_ASYNC_CANCEL_ALL);
        cancel->flags |= IOSQE_CQE_SKIP_SUCCESS;
        label(cancel, NULL, IGNORED);
    }
}

static void session_break(struct session *session) {
    session->broken = true;
    cancel(session);
}

static void send_rest(struct session *session) {
    struct io_uring_sqe *send = entry();
    io_uring_prep_send(send, session->slot, session->leaving + session->sent, session->leaving_length - session->sent,
                       MSG_NOSIGNAL);
    send->flags |= IOSQE_FIXED_FILE;
    label(send, session, SENT);
    session->sending = true;
}

static void leave(struct session *session, char *bytes, size_t length, int buffer) {
    session->leaving = bytes;
    session->leaving_buffer = buffer;
    session->leaving_length = length;
    session->sent = 0;
    send_rest(session);
}

static void release_leaving(struct session *session) {
    if (session->leaving_buffer == NO_BUFFER) {
        free(session->leaving);
    } else {
        buffer_release((unsigned)session->leaving_buffer);
    }
    session->leaving = NULL;
    session->sent = session->leaving_length = 0;
    session->sending = false;
}

// Closes a session that is done, when nothing of it is in flight any more.
static void conclude(struct session *session) {
    if (session->sending || session->starved || !(session->broken || (session->finishing && !session->whole))) {
        return;
    }
    if (session->receiving) {
        cancel(session);
        return;
    }
    close_slot(session->slot);
    *(session->previous ? &session->previous->next : &all) = session->next;
    if (session->next) {
        session->next->previous = session->previous;
    }
    free(session->waiting);
    free(session);
}

static uint16_t u16_at(const char *bytes) {
    const unsigned char *unsigned_bytes = (const unsigned char *)bytes;
    return (uint16_t)(unsigned_bytes[0] | unsigned_bytes[1] << 8);
}

// The length of all frames that are whole. Not good at the first that no honest client sends.
static size_t whole_frames(const char *bytes, size_t length, bool *good) {
    size_t whole = 0;
    while (length - whole >= HEADER_BYTES) {
        size_t size = u16_at(bytes + whole);
        if (size < HEADER_BYTES || u16_at(bytes + whole + 2) != ID_ECHO) {
            *good = false;
            break;
        }
        if (length - whole < size) {
            break;
        }
        whole += size;
    }
    return whole;
}

static void keep(struct session *session, const char *bytes, size_t length) {
    size_t needed = session->waiting_length + length;
    if (needed + session->leaving_length - session->sent > UNSENT_BYTES_MAX) {
        sessions_cut_off++;
        session_break(session);
        return;
    }
    if (needed > session->waiting_capacity) {
        char *waiting = realloc(session->waiting, 2 * needed);
        if (!waiting) {
            session_break(session);
            return;
        }
        session->waiting = waiting;
        session->waiting_capacity = 2 * needed;
    }
    memcpy(session->waiting + session->waiting_length, bytes, length);
    session->waiting_length = needed;
}

static void leave_waiting(struct session *session) {
    char *whole = session->waiting;
    size_t length = session->whole, rest = session->waiting_length - length;
    session->waiting = NULL;
    session->whole = session->waiting_length = session->waiting_capacity = 0;
    leave(session, whole, length, NO_BUFFER);
    if (rest) {
        keep(session, whole + length, rest);
    }
}

static void take(struct session *session, char *bytes, size_t length, unsigned buffer) {
    bool good = true;
    if (!session->sending && !session->waiting_length) {
        size_t whole = whole_frames(bytes, length, &good);
        if (whole) {
            buffer_hold(buffer);
            leave(session, bytes, whole, (int)buffer);
        }
        if (good && whole < length) {
            keep(session, bytes + whole, length - whole);
        }
    } else {
        keep(session, bytes, length);
        if (session->broken) {
            return;
        }
        session->whole += whole_frames(session->waiting + session->whole, session->waiting_length - session->whole, &good);
        if (session->whole && !session->sending) {
            leave_waiting(session);
        }
    }
    if (!good) {
        session->finishing = true;
    }
}

void session_received(struct session *session, int result, uint32_t flags) {
    session->receiving = flags & IORING_CQE_F_MORE;
    if (flags & IORING_CQE_F_BUFFER) {
        unsigned buffer;
        size_t length = result > 0 ? (size_t)result : 0;
        char *bytes = buffer_take(flags, length, &buffer);
        if (length && !session->finishing && !session->broken) {
            take(session, bytes, length, buffer);
        }
        buffer_release(buffer);
    }
    if (result == 0) {
        session->finishing = true;
    } else if (result == -ENOBUFS) {
        session->starved = true;
        session->next_starved = starved;
        starved = session;
    } else if (result < 0) {
        session_break(session);
    }
    if (!session->receiving && !session->starved && !session->finishing && !session->broken) {
        receive(session);
    }
    conclude(session);
}

void session_sent(struct session *session, int result) {
    if (result > 0) {
        session->sent += (size_t)result;
    } else {
        session_break(session);
    }
    if (session->sent < session->leaving_length && !session->broken) {
        send_rest(session);
        return;
    }
    release_leaving(session);
    if (session->whole && !session->broken) {
        leave_waiting(session);
    }
    conclude(session);
}

void sessions_resume(void) {
    if (!starved || (!buffers_are_provided() && !buffers_grow())) {
        return;
    }
    while (starved) {
        struct session *session = starved;
        starved = session->next_starved;
        session->starved = false;
        if (!session->finishing && !session->broken) {
            receive(session);
        }
        conclude(session);
    }
}

void sessions_free(void) {
    while (all) {
        struct session *session = all;
        all = session->next;
        if (session->sending && session->leaving_buffer == NO_BUFFER) {
            free(session->leaving);
        }
        free(session->waiting);
        free(session);
    }
}
