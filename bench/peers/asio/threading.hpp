// What differs between one thread and several: with one, nothing is locked and no strand is needed.

#pragma once

#include <asio.hpp>
#include <mutex>

struct OneThread {
    using Executor = asio::io_context::executor_type;

    struct Mutex {
        void lock() {}
        void unlock() {}
    };

    static Executor executor(asio::io_context& io) { return io.get_executor(); }
};

struct ManyThreads {
    using Executor = asio::strand<asio::io_context::executor_type>;
    using Mutex = std::mutex;

    static Executor executor(asio::io_context& io) { return asio::make_strand(io); }
};
