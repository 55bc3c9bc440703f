"""A server of the peers as a process, and clients of it, for contract.py."""

import contextlib
import ctypes
import fcntl
import os
import re
import resource
import signal
import socket
import struct
import subprocess
import termios

JOIN, SAY, ECHO = 1, 2, 3
PATIENCE_S = 60
PIDFD_GETFD = 438


def frame(identifier, body=b""):
    return struct.pack("<HH", 4 + len(body), identifier) + body


def pattern(length, seed=0):
    return bytes((seed + 7 * index) % 251 for index in range(length))


def require(condition, message):
    if not condition:
        raise AssertionError(message)


class Server:
    def __init__(self, options, workers=1, descriptors=None):
        self.cut_off = 0
        limit = (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors,) * 2)) if descriptors else None
        command = options.program + ["--listen", "127.0.0.1:0", "--workers", str(workers)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=limit)
        line = self.process.stdout.readline()
        told = re.fullmatch(r"\S+ serves on 127\.0\.0\.1:(\d+), (\d+) workers\n", line)
        if not told or int(told[2]) != workers:
            self.process.kill()
            raise AssertionError(f"the first line is {line!r}, {workers} workers were asked for")
        self.address = ("127.0.0.1", int(told[1]))

    def __enter__(self):
        return self

    def __exit__(self, failure, *_):
        if failure:
            self.process.kill()
            self.process.wait()
            return
        require(self.process.poll() is None, f"the server ended by itself with {self.process.returncode}")
        self.process.send_signal(signal.SIGTERM)
        try:
            rest, _ = self.process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError("SIGTERM does not end it") from None
        require(self.process.returncode == 0, f"exit code {self.process.returncode}")
        wanted = f"{self.cut_off} sessions did not read and were ended\n"
        require(rest == wanted, f"last words {rest!r} instead of {wanted!r}")


    @contextlib.contextmanager
    def stopped(self):
        """What happens meanwhile, the server sees all at once."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitpid(self.process.pid, os.WUNTRACED)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def narrow(self, client):
        """Gives the server's end of a connection a small send buffer, if it is a descriptor: much takes many sends."""
        for mine in descriptors_of(self.process.pid):
            if not mine.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and mine.getpeername()[1] == client.port:
                mine.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
            mine.close()

    def held(self, client, answered):
        """Of so many bytes of answers, those that are in the server: not in its socket, not at the client."""
        arrived = struct.unpack("i", fcntl.ioctl(client.socket, termios.FIONREAD, b"    "))[0]
        for line in open("/proc/net/tcp"):
            words = line.split()
            if words[1].endswith(f":{self.address[1]:04X}") and words[2].endswith(f":{client.port:04X}"):
                return answered - arrived - int(words[4].split(":")[0], 16)
        raise AssertionError("the connection is not there any more")


class Client:
    def __init__(self, server, receive_bytes=None):
        self.socket = socket.socket()
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect(server.address)
        self.port = self.socket.getsockname()[1]

    def send(self, *frames):
        self.socket.sendall(b"".join(frames))

    def exactly(self, length):
        chunks = []
        while length:
            chunk = self.socket.recv(min(length, 1 << 20))
            require(chunk, f"the session ended with {length} bytes missing")
            chunks.append(chunk)
            length -= len(chunk)
        return b"".join(chunks)

    def next(self):
        header = self.exactly(4)
        size, identifier = struct.unpack("<HH", header)
        require(size >= 4, f"a frame of {size} bytes came")
        return identifier, self.exactly(size - 4)

    def expect(self, *frames):
        for wanted in frames:
            came = self.exactly(len(wanted))
            require(came == wanted, f"{came[:16]!r}... instead of {wanted[:16]!r}... of {len(wanted)} bytes")

    def echo(self, body=b"fence"):
        self.send(frame(ECHO, body))
        self.expect(frame(ECHO, body))

    def join(self, room):
        self.send(frame(JOIN, struct.pack("<I", room)))
        self.expect(frame(JOIN, struct.pack("<I", room)))

    def expect_end(self):
        try:
            rest = self.socket.recv(1)
        except ConnectionResetError:
            return
        require(rest == b"", f"{rest!r} came instead of the end")

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def descriptors_of(process):
    call, handle = ctypes.CDLL(None, use_errno=True).syscall, os.pidfd_open(process)
    for name in os.listdir(f"/proc/{process}/fd"):
        if os.readlink(f"/proc/{process}/fd/{name}").startswith("socket:"):
            copy = call(PIDFD_GETFD, handle, int(name), 0)
            require(copy >= 0, f"pidfd_getfd: {os.strerror(ctypes.get_errno())}")
            mine = socket.socket(fileno=copy)
            if mine.family == socket.AF_INET and mine.type == socket.SOCK_STREAM:
                yield mine
    os.close(handle)
