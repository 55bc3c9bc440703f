// One connection. Everything but `hear` runs on its own strand.
//
//   read_some -> whole frames are cut off and answered -> one gathered write of all that waits -> read_some
//   somebody says something -> posted once: one gathered write of all that waits by then

#pragma once

#include <asio.hpp>
#include <atomic>
#include <memory>

#include "buffers.hpp"
#include "outbox.hpp"
#include "room.hpp"

inline std::atomic<unsigned long> sessions_cut_off = 0;

template <class Threading>
class Session : public std::enable_shared_from_this<Session<Threading>> {
public:
    using Socket = asio::basic_stream_socket<asio::ip::tcp, typename Threading::Executor>;

    Session(Socket socket, Rooms<Threading>& rooms) : socket(std::move(socket)), rooms(rooms) {}

    void start() {
        asio::error_code failed;
        socket.set_option(asio::ip::tcp::no_delay(true), failed);
        socket.non_blocking(true, failed);
        asio::dispatch(socket.get_executor(), [self = this->shared_from_this()] { self->read(); });
    }

    // From any thread.
    void hear(const Slice& frame) {
        switch (outbox.push(frame)) {
        case Pushed::first:
            asio::post(socket.get_executor(), [self = this->shared_from_this()] { self->flush(); });
            break;
        case Pushed::too_much:
            sessions_cut_off++;
            asio::post(socket.get_executor(), [self = this->shared_from_this()] { self->close(); });
            break;
        default:
            break;
        }
    }

private:
    enum : std::uint16_t { JOIN = 1, SAY = 2, ECHO_ = 3 };

    void read() {
        received.reserve();
        socket.async_read_some(asio::buffer(received.free_space(), received.free_size()),
                               [self = this->shared_from_this()](asio::error_code failed, std::size_t bytes) {
                                   self->on_read(failed, bytes);
                               });
    }

    void on_read(asio::error_code failed, std::size_t bytes) {
        bool good = !failed;
        if (good) {
            received.filled(bytes);
            outbox.hold();
            good = take_frames();
        }
        if (!good) {
            leave();
            finishing = true;
        }
        flush();
        if (good && socket.is_open()) {
            read();
        }
    }

    // Takes all whole frames. Consecutive ones that are answered as they are leave as one. False at a violation.
    bool take_frames() {
        std::size_t answered = 0;
        while (received.size() - answered >= header_bytes) {
            const char* frame = received.data() + answered;
            std::size_t size = u16_at(frame);
            std::uint16_t id = u16_at(frame + 2);
            if (size >= header_bytes && received.size() - answered < size) {
                break;
            }
            if (size >= header_bytes && id == ECHO_) {
                answered += size;
            } else if (id == JOIN && size == header_bytes + sizeof(std::uint32_t)) {
                answer(std::exchange(answered, size));
                join(u32_at(received.data() + header_bytes));
            } else if (size >= header_bytes && id == SAY && room) {
                answer(std::exchange(answered, 0));
                room->say(received.cut(size));
            } else {
                answer(answered);
                return false;
            }
        }
        answer(answered);
        return true;
    }

    void answer(std::size_t bytes) {
        if (bytes) {
            hear(received.cut(bytes));
        }
    }

    void join(std::uint32_t number) {
        leave();
        room = rooms.get(number);
        room->join(this->shared_from_this());
    }

    void leave() {
        if (room) {
            std::exchange(room, nullptr)->leave(this);
        }
    }

    void flush() {
        if (waits_to_write) {
            return;
        }
        while (outbox.collect()) {
            asio::error_code failed;
            auto buffers = outbox.to_send();
            std::size_t bytes = buffers.size() == 1 ? socket.write_some(buffers.front(), failed)
                                                    : socket.write_some(buffers, failed);
            if (failed == asio::error::would_block) {
                write_later();
                return;
            }
            if (failed) {
                close();
                return;
            }
            outbox.sent(bytes);
        }
        if (finishing) {
            close();
        }
    }

    void write_later() {
        waits_to_write = true;
        socket.async_wait(Socket::wait_write, [self = this->shared_from_this()](asio::error_code failed) {
            self->waits_to_write = false;
            failed ? self->close() : self->flush();
        });
    }

    void close() {
        asio::error_code failed;
        outbox.close();
        leave();
        socket.close(failed);
    }

    Socket socket;
    Rooms<Threading>& rooms;
    std::shared_ptr<Room<Threading>> room;
    ReadBuffer received;
    Outbox<typename Threading::Mutex> outbox;
    bool waits_to_write = false;
    bool finishing = false; // reads no more; closed when everything has left
};
