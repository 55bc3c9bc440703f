// What waits for one client, from any thread; and what leaves, on the session's own strand.

#pragma once

#include <asio.hpp>
#include <mutex>
#include <span>
#include <vector>

#include "buffers.hpp"

enum class Pushed {
    queued,
    first, // nobody has been told yet that something waits
    too_much,
    closed,
};

template <class Mutex>
class Outbox {
public:
    Pushed push(Slice slice) {
        std::lock_guard lock(mutex);
        if (closed) {
            return Pushed::closed;
        }
        unsent += slice.size;
        if (unsent > unsent_bytes_max || waiting.size() == slices_max) {
            closed = true;
            return Pushed::too_much;
        }
        waiting.push_back(std::move(slice));
        return std::exchange(told, true) ? Pushed::queued : Pushed::first;
    }

    // Nobody is told until the next `collect`.
    void hold() {
        std::lock_guard lock(mutex);
        told = true;
    }

    // What waits leaves when everything before it has left. False if there is nothing to send.
    bool collect() {
        if (left < leaving.size()) {
            return true;
        }
        leaving.clear();
        buffers.clear();
        left = 0;
        std::lock_guard lock(mutex);
        told = false;
        unsent -= std::exchange(sent_bytes, 0);
        std::swap(leaving, waiting);
        for (const Slice& slice : leaving) {
            buffers.emplace_back(slice.bytes, slice.size);
        }
        return !leaving.empty();
    }

    std::span<const asio::const_buffer> to_send() const { return std::span(buffers).subspan(left); }

    void sent(std::size_t bytes) {
        sent_bytes += bytes;
        while (left < buffers.size() && bytes >= buffers[left].size()) {
            bytes -= buffers[left].size();
            leaving[left++].block.reset();
        }
        if (bytes) {
            buffers[left] += bytes;
        }
    }

    void close() {
        std::lock_guard lock(mutex);
        closed = true;
    }

private:
    // What may wait for a client that does not read.
    static constexpr std::size_t unsent_bytes_max = 1024 * 1024;
    static constexpr std::size_t slices_max = 4096;

    Mutex mutex;
    bool told = false, closed = false;
    std::size_t unsent = 0;
    std::vector<Slice> waiting;
    // From here on the strand's alone.
    std::vector<Slice> leaving;
    std::vector<asio::const_buffer> buffers;
    std::size_t left = 0, sent_bytes = 0;
};
