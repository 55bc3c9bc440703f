// The least code over io_uring that still frames and answers ECHO: a lower bound of what such a server costs.
//
//   submit_and_wait -> for each completion: accepted | received, whole frames leave from where they were received |
//   sent, what came meanwhile leaves together -> buffers for sessions that found none
//
// One system call per pass. An operation in flight holds on to its session: a session is freed when its receive has ended
// and its send has come back, never before.

#pragma once

#include <liburing.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HEADER_BYTES = 4,
    ID_ECHO = 3,
    BUFFER_GROUP = 0,
    // What may wait for a client that does not read. More ends its session.
    UNSENT_BYTES_MAX = 1024 * 1024,
};

// What a completion belongs to: the low bits of the address of its session, or all there is.
enum operation { RECEIVED, SENT, ACCEPTED, TERMINATED, PAUSED, IGNORED, OPERATION_MASK = 7 };

extern struct io_uring ring;

struct session;

// main.c
_Noreturn void fail(const char *what, int error);
// The next entry of the submission queue; what it asks for has to be filled in before `label`.
struct io_uring_sqe *entry(void);
void label(struct io_uring_sqe *entry, struct session *session, enum operation operation);

// buffers.c: memory that the kernel receives into, taken from the ring of buffers piece by piece.
void buffers_setup(void);
// More memory; false if there is as much as there may be. Only asked for when the kernel has none.
bool buffers_grow(void);
bool buffers_are_provided(void);
// The piece that a completion tells of. It stays until it is released.
char *buffer_take(uint32_t flags, size_t length, unsigned *buffer);
void buffer_hold(unsigned buffer);
void buffer_release(unsigned buffer);

// session.c
extern unsigned long sessions_cut_off;
void session_accepted(int slot);
void session_received(struct session *session, int result, uint32_t flags);
void session_sent(struct session *session, int result);
// Sessions that found no buffer receive again if there is one.
void sessions_resume(void);
void sessions_free(void);
