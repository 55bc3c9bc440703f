// A ring of buffers that the kernel consumes piece by piece (IOU_PBUF_RING_INC, Linux 6.12): small messages of many
// sessions lie side by side, a buffer goes back into the ring once per 64 KiB and not once per message.
//
// A buffer is held by the kernel until it is used up, by the completion that is looked at, and by each send in flight that
// leaves from it. Who holds it last puts it back.

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "limit.h"

enum {
    BUFFER_BYTES = 64 * 1024,
    BUFFERS_AT_A_TIME = 8,
    // A client that does not read holds one at most.
    BUFFERS_MAX = 4096,
    CONSUMED_IN_PIECES = 2,  // IOU_PBUF_RING_INC
    KERNEL_HOLDS_IT = 1 << 4, // IORING_CQE_F_BUF_MORE
};

static struct {
    char *memory;
    size_t taken;
    unsigned holders;
} buffers[BUFFERS_MAX];

static unsigned buffers_length, provided;
static struct io_uring_buf_ring *shared;

static void provide(unsigned buffer) {
    buffers[buffer].taken = 0;
    buffers[buffer].holders = 1;
    io_uring_buf_ring_add(shared, buffers[buffer].memory, BUFFER_BYTES, (unsigned short)buffer,
                          io_uring_buf_ring_mask(BUFFERS_MAX), 0);
    io_uring_buf_ring_advance(shared, 1);
    provided++;
}

void buffers_setup(void) {
    shared = mmap(NULL, BUFFERS_MAX * sizeof(struct io_uring_buf), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                  -1, 0);
    if (shared == MAP_FAILED) {
        fail("mmap", errno);
    }
    // io_uring_buf_reg, with the flags that liburing 2.3 does not know yet.
    struct {
        uint64_t address;
        uint32_t entries;
        uint16_t group, flags;
        uint64_t reserved[3];
    } registration = {(uintptr_t)shared, BUFFERS_MAX, BUFFER_GROUP, CONSUMED_IN_PIECES, {0}};
    int result = io_uring_register((unsigned)ring.ring_fd, IORING_REGISTER_PBUF_RING, &registration, 1);
    if (result < 0) {
        fail("buffers that are consumed in pieces (Linux 6.12)", -result);
    }
    buffers_grow();
}

bool buffers_grow(void) {
    if (buffers_length == BUFFERS_MAX) {
        return false;
    }
    char *memory = mmap(NULL, BUFFERS_AT_A_TIME * BUFFER_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return false;
    }
    for (int added = 0; added < BUFFERS_AT_A_TIME; added++) {
        buffers[buffers_length].memory = memory + added * BUFFER_BYTES;
        provide(buffers_length++);
    }
    return true;
}

bool buffers_are_provided(void) {
    return provided > 0;
}

char *buffer_take(uint32_t flags, size_t length, unsigned *buffer) {
    *buffer = flags >> IORING_CQE_BUFFER_SHIFT;
    char *piece = buffers[*buffer].memory + buffers[*buffer].taken;
    buffers[*buffer].taken += length;
    if (flags & KERNEL_HOLDS_IT) {
        buffer_hold(*buffer);
    } else {
        provided--; // The kernel's part of it is now the caller's.
    }
    return piece;
}

void buffer_hold(unsigned buffer) {
    buffers[buffer].holders++;
}

void buffer_release(unsigned buffer) {
    if (--buffers[buffer].holders == 0) {
        provide(buffer);
    }
}
