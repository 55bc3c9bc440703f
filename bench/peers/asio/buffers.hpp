// What a session reads into, and what it cuts frames from: a frame is shared as it lies in the read buffer, nothing is copied.
//
//   block   [ shared by slices | begin: not yet a whole frame | end: free ]
//
// A block goes on being filled behind what is shared. When it is full, what has not come whole moves into the next block,
// or to the front if nobody shares the block any more.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

constexpr std::size_t header_bytes = 4;

struct Slice {
    std::shared_ptr<char[]> block;
    const char* bytes;
    std::size_t size;
};

inline std::uint16_t u16_at(const char* bytes) {
    const auto* unsigned_bytes = reinterpret_cast<const unsigned char*>(bytes);
    return static_cast<std::uint16_t>(unsigned_bytes[0] | unsigned_bytes[1] << 8);
}

inline std::uint32_t u32_at(const char* bytes) {
    return u16_at(bytes) | static_cast<std::uint32_t>(u16_at(bytes + 2)) << 16;
}

class ReadBuffer {
public:
    const char* data() const { return block.get() + begin; }
    std::size_t size() const { return end - begin; }
    char* free_space() { return block.get() + end; }
    std::size_t free_size() const { return capacity - end; }

    void filled(std::size_t bytes) {
        if (bytes == free_size()) {
            wanted = std::min(2 * wanted, most_bytes);
        }
        end += bytes;
    }

    Slice cut(std::size_t bytes) {
        Slice slice{block, data(), bytes};
        begin += bytes;
        return slice;
    }

    // Makes room for the next read, and for the whole of the frame that has begun.
    void reserve() {
        std::size_t frame = size() >= 2 ? u16_at(data()) : 0;
        bool alone = block.use_count() == 1;
        if (alone && size() == 0) {
            begin = end = 0;
        }
        if (capacity >= wanted && capacity - begin >= frame && free_size() >= least_bytes) {
            return;
        }
        if (alone && capacity >= wanted && capacity >= frame + least_bytes) {
            std::memmove(block.get(), data(), size());
        } else {
            std::size_t needed = std::max(wanted, frame + least_bytes);
            auto next = std::make_shared_for_overwrite<char[]>(needed);
            std::copy_n(data(), size(), next.get());
            block = std::move(next);
            capacity = needed;
        }
        end -= begin;
        begin = 0;
    }

private:
    // A read into less is not worth it.
    static constexpr std::size_t least_bytes = 2 * 1024;
    static constexpr std::size_t most_bytes = 256 * 1024;

    std::shared_ptr<char[]> block;
    std::size_t capacity = 0, begin = 0, end = 0;
    // A session that says little has a small block; it grows when a read fills it.
    std::size_t wanted = 8 * 1024;
};
