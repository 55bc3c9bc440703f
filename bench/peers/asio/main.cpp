// A room server on standalone Asio: what `cargo xtask bench` measures pogu against. The choices are in the README.

#include <asio.hpp>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string_view>
#include <thread>
#include <vector>

#include "room.hpp"
#include "session.hpp"
#include "threading.hpp"

using asio::ip::tcp;

struct Arguments {
    tcp::endpoint listen{asio::ip::address_v4::loopback(), 7777};
    int workers = 1;
};

[[noreturn]] static void refuse(std::string_view why, std::string_view argument) {
    std::cerr << "asio: " << why << ": " << argument << "\nusage: asio [--listen ADDRESS:PORT] [--workers N]\n";
    std::exit(2);
}

template <class Number>
static bool parse_number(std::string_view text, Number& number) {
    auto [end, failed] = std::from_chars(text.begin(), text.end(), number);
    return failed == std::errc() && end == text.end();
}

static Arguments parse(int count, char** values) {
    Arguments arguments;
    for (int at = 1; at < count; at += 2) {
        std::string_view name = values[at], value = at + 1 < count ? values[at + 1] : "";
        if (name == "--listen") {
            std::size_t colon = value.rfind(':');
            std::uint16_t port = 0;
            asio::error_code failed = asio::error::invalid_argument;
            if (colon != value.npos && parse_number(value.substr(colon + 1), port)) {
                arguments.listen = {asio::ip::make_address(value.substr(0, colon), failed), port};
            }
            if (failed) {
                refuse("no address and port", value);
            }
        } else if (name != "--workers") {
            refuse("unknown argument", name);
        } else if (!parse_number(value, arguments.workers) || arguments.workers < 1) {
            refuse("no number of workers", value);
        }
    }
    return arguments;
}

template <class Threading>
class Server {
public:
    Server(asio::io_context& io, const tcp::endpoint& endpoint) : io(io), acceptor(io), pause(io) {
        acceptor.open(endpoint.protocol());
        acceptor.set_option(tcp::acceptor::reuse_address(true));
        acceptor.bind(endpoint);
        acceptor.listen(backlog);
        accept();
    }

    // Sessions that are left go with the context.
    ~Server() { rooms.clear(); }

    tcp::endpoint endpoint() const { return acceptor.local_endpoint(); }

private:
    static constexpr int backlog = 4096;

    void accept() {
        acceptor.async_accept(Threading::executor(io),
                              [this](asio::error_code failed, typename Session<Threading>::Socket socket) {
                                  if (!failed) {
                                      std::make_shared<Session<Threading>>(std::move(socket), rooms)->start();
                                      accept();
                                  } else if (failed != asio::error::operation_aborted) {
                                      accept_later();
                                  }
                              });
    }

    // No descriptors, no memory: whoever waits to be accepted waits on.
    void accept_later() {
        pause.expires_after(std::chrono::milliseconds(100));
        pause.async_wait([this](asio::error_code failed) {
            if (!failed) {
                accept();
            }
        });
    }

    asio::io_context& io;
    tcp::acceptor acceptor;
    asio::steady_timer pause;
    Rooms<Threading> rooms;
};

template <class Threading>
static void serve(const Arguments& arguments) {
    asio::io_context io(arguments.workers);
    asio::signal_set terminated(io, SIGTERM);
    terminated.async_wait([&io](asio::error_code, int) { io.stop(); });
    Server<Threading> server(io, arguments.listen);
    std::cout << "asio serves on " << server.endpoint() << ", " << arguments.workers << " workers" << std::endl;
    std::vector<std::jthread> threads;
    for (int started = 1; started < arguments.workers; started++) {
        threads.emplace_back([&io] { io.run(); });
    }
    io.run();
    threads.clear();
}

int main(int count, char** values) {
    Arguments arguments = parse(count, values);
    try {
        arguments.workers == 1 ? serve<OneThread>(arguments) : serve<ManyThreads>(arguments);
    } catch (const std::exception& failure) {
        std::cerr << "asio: " << failure.what() << '\n';
        return 1;
    }
    std::cout << sessions_cut_off << " sessions did not read and were ended" << std::endl;
    return 0;
}
