// One connection. What is read lands in one buffer for all sessions; whole frames that are echoed leave from there. Only
// what has not come whole, and what the socket does not take, is copied into memory of the session.

#include <stdlib.h>
#include <string.h>

#include "server.h"

enum {
    PARTIAL_BYTES_MAX = UINT16_MAX,
    READ_BYTES = 256 * 1024,
};

// What the socket did not take.
struct rest {
    uv_write_t request;
    size_t size;
    char bytes[];
};

unsigned long sessions_cut_off;

// The unfinished frame of before is put in front of what comes.
static char incoming[PARTIAL_BYTES_MAX + READ_BYTES];

static uint16_t u16_at(const char *bytes) {
    const unsigned char *unsigned_bytes = (const unsigned char *)bytes;
    return (uint16_t)(unsigned_bytes[0] | unsigned_bytes[1] << 8);
}

static uint32_t u32_at(const char *bytes) {
    return u16_at(bytes) | (uint32_t)u16_at(bytes + 2) << 16;
}

static void on_closed(uv_handle_t *handle) {
    struct session *session = (struct session *)handle;
    free(session->partial);
    free(session);
}

void session_end(struct session *session) {
    if (!uv_is_closing((uv_handle_t *)session)) {
        room_leave(session);
        uv_close((uv_handle_t *)session, on_closed);
    }
}

static void on_finished(uv_shutdown_t *finish, int status) {
    (void)status;
    session_end((struct session *)finish->handle);
}

// What was answered leaves, then the session ends.
static void session_finish(struct session *session) {
    uv_read_stop((uv_stream_t *)session);
    room_leave(session);
    if (!session->unsent || uv_shutdown(&session->finish, (uv_stream_t *)session, on_finished) != 0) {
        session_end(session);
    }
}

static void on_written(uv_write_t *request, int status) {
    struct rest *rest = (struct rest *)request;
    struct session *session = (struct session *)request->handle;
    session->unsent -= rest->size;
    free(rest);
    if (status < 0) {
        session_end(session);
    }
}

static void queue(struct session *session, const char *bytes, size_t length) {
    size_t size = sizeof(struct rest) + length;
    bool much = session->unsent + size > UNSENT_BYTES_MAX;
    struct rest *rest = much ? NULL : malloc(size);
    sessions_cut_off += much;
    if (rest) {
        rest->size = size;
        memcpy(rest->bytes, bytes, length);
        session->unsent += size;
        uv_buf_t buffer = uv_buf_init(rest->bytes, (unsigned)length);
        if (uv_write(&rest->request, (uv_stream_t *)session, &buffer, 1, on_written) == 0) {
            return;
        }
        session->unsent -= size;
        free(rest);
    }
    session_end(session);
}

void session_send(struct session *session, const char *bytes, size_t length) {
    if (uv_is_closing((uv_handle_t *)session)) {
        return;
    }
    uv_buf_t buffer = uv_buf_init((char *)bytes, (unsigned)length);
    int written = session->unsent ? UV_EAGAIN : uv_try_write((uv_stream_t *)session, &buffer, 1);
    if (written < 0 && written != UV_EAGAIN) {
        session_end(session);
        return;
    }
    size_t taken = written < 0 ? 0 : (size_t)written;
    if (taken < length) {
        queue(session, bytes + taken, length - taken);
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

// libuv reads directly behind this call: one buffer is enough for all.
static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
    struct session *session = (struct session *)handle;
    (void)suggested;
    if (session->partial) {
        memcpy(incoming, session->partial, session->partial_length);
    }
    *buffer = uv_buf_init(incoming + session->partial_length, (unsigned)(sizeof incoming - session->partial_length));
}

static void on_read(uv_stream_t *stream, ssize_t received, const uv_buf_t *buffer) {
    struct session *session = (struct session *)stream;
    (void)buffer;
    if (received <= 0) {
        if (received == UV_EOF) {
            session_finish(session);
        } else if (received < 0) {
            session_end(session);
        }
        return;
    }
    size_t length = session->partial_length + (size_t)received, taken;
    bool good = take_frames(session, length, &taken);
    if (uv_is_closing((uv_handle_t *)session)) {
        return;
    }
    if (!good) {
        session_finish(session);
    } else if (!keep_partial(session, incoming + taken, length - taken)) {
        session_end(session);
    }
}

void session_accept(uv_stream_t *listener, int status) {
    if (status < 0) {
        return; // libuv goes on listening.
    }
    struct session *session = calloc(1, sizeof *session);
    if (!session) {
        abort();
    }
    uv_tcp_init(listener->loop, &session->stream);
    if (uv_accept(listener, (uv_stream_t *)session) != 0) {
        session_end(session);
        return;
    }
    uv_tcp_nodelay(&session->stream, 1);
    if (uv_read_start((uv_stream_t *)session, on_allocate, on_read) != 0) {
        session_end(session);
    }
}
