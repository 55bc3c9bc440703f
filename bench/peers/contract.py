#!/usr/bin/env python3
"""Checks that a server keeps the contract of the peers: who is measured does what is measured.

    contract.py [--without-rooms] [--workers N] [--only CHECK] PROGRAM [ARGUMENT...]

Each check has a server of its own, on a port that the system chooses; afterwards SIGTERM has to give exit code 0 and the
closing line with the number that the check expects. Nothing waits by the clock: where a server has to have seen something
first, another connection asks it something behind that (a fence). With --without-rooms, JOIN and SAY have to be
unknown ids. Exit code 1 if any check fails.
"""

import argparse
import select
import socket
import struct
import subprocess
import sys
import time
import traceback

sys.dont_write_bytecode = True
from peer import ECHO, JOIN, PATIENCE_S, SAY, Client, Server, descriptors_of, frame, pattern, require

BACKLOG = 4096


def arguments_are_refused(options):
    for arguments in (["--nonsense", "1"], ["--workers", "0x"], ["--listen", "nowhere"]):
        ended = subprocess.run(options.program + arguments, capture_output=True, text=True, timeout=PATIENCE_S)
        require(ended.returncode == 2, f"{arguments}: exit code {ended.returncode}")
        require(ended.stderr and not ended.stdout, f"{arguments}: it says {ended.stdout!r}, {ended.stderr!r}")


def two_workers_are_served_or_refused(options):
    command = options.program + ["--listen", "127.0.0.1:0", "--workers", "2"]
    probe = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    line = probe.stdout.readline()
    if line:
        probe.kill()
        probe.communicate()
        with Server(options, workers=2) as server:
            Client(server).echo()
    else:
        _, complaint = probe.communicate(timeout=PATIENCE_S)
        require(probe.returncode == 2, f"exit code {probe.returncode}")
        require("worker" in complaint, f"the refusal says {complaint!r}")


def sockets_are_alike(options):
    """TCP_NODELAY and the backlog, looked up on copies of the server's own descriptors."""
    with Server(options) as server:
        client = Client(server)
        client.echo()
        listeners, sessions = [], []
        for mine in descriptors_of(server.process.pid):
            no_delay = mine.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            if mine.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                listeners.append(no_delay)
                backlog = struct.unpack_from("I", mine.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 28)[0]
                require(backlog == BACKLOG, f"a backlog of {backlog}")
            else:
                sessions.append(no_delay)
            mine.close()
        require(listeners, "no listener is seen: this checks nothing")
        # Connections that are no descriptors of the process take after the listener.
        require(all(sessions or listeners), "a session has no TCP_NODELAY")


def frames_in_one_write_are_all_answered(options):
    with Server(options, options.workers) as server:
        client = Client(server)
        frames = [frame(ECHO, pattern(length, length)) for length in (0, 1, 64, 64, 5000, 3, 0)] + [
            frame(ECHO, struct.pack("<I", number)) for number in range(1000)
        ]
        client.send(*frames)
        client.expect(*frames)


def split_frames_are_put_together(options):
    with Server(options, options.workers) as server:
        client, fence = Client(server), Client(server)
        frames = [frame(ECHO, pattern(length, length)) for length in (0, 1, 2, 64, 300, 0)]
        whole = b"".join(frames)
        for step in (1, 3, 7, 67):
            for begin in range(0, len(whole), step):
                client.send(whole[begin : begin + step])
                fence.echo()
            client.expect(*frames)
        large = frame(ECHO, pattern(65531))
        for begin in range(0, len(large), 1500):
            client.send(large[begin : begin + 1500])
            fence.echo()
        client.expect(large)


def the_largest_frames_are_answered(options):
    with Server(options, options.workers) as server:
        client = Client(server)
        frames = [frame(ECHO, pattern(65531, seed)) for seed in range(6)]
        frames.insert(3, frame(ECHO, b"between"))
        client.send(*frames)
        client.expect(*frames)
        for _ in range(300):
            client.send(*frames)
            client.expect(*frames)
        # By now the connection takes much at once.
        with server.stopped():
            client.socket.setblocking(False)
            whole = b"".join(frames) * 2
            sent = client.socket.send(whole)
            client.socket.settimeout(PATIENCE_S)
        client.send(whole[sent:])
        client.expect(*frames, *frames)


def violations_end_the_session(options):
    bad = [struct.pack("<HH", size, ECHO) for size in (0, 3)] + [frame(identifier, b"1234") for identifier in (0, 4, 65535)]
    if options.rooms:
        bad += [frame(SAY, b"to nobody"), frame(JOIN, b"123"), frame(JOIN, b"12345")]
    else:
        bad += [frame(JOIN, b"1234"), frame(SAY, b"")]
    with Server(options, options.workers) as server:
        bystander = Client(server)
        for violation in bad:
            client = Client(server)
            client.send(frame(ECHO, b"answered before"), violation)
            client.expect(frame(ECHO, b"answered before"))
            client.expect_end()
            bystander.echo()


def who_finishes_gets_all_answers(options):
    with Server(options, options.workers) as server:
        for count in (0, 1, 2000):
            client = Client(server)
            frames = [frame(ECHO, pattern(500, number)) for number in range(count)]
            client.send(*frames, b"\x10")
            client.socket.shutdown(socket.SHUT_WR)
            client.expect(*frames)
            client.expect_end()


def resets_concern_nobody_else(options):
    with Server(options, options.workers) as server:
        bystander = Client(server)
        for number in range(100):
            client = Client(server)
            if number % 3:
                client.send(frame(ECHO, pattern(60000)), b"\x10\x00")
            if number % 2:
                bystander.echo()
            client.reset()
        bystander.echo()
        for number in range(2):
            client = Client(server)
            client.echo()
            with server.stopped():
                client.send(frame(ECHO, b"read, but not to be answered"))
                if number:
                    client.socket.shutdown(socket.SHUT_WR)
                client.reset()
            bystander.echo()


def five_hundred_at_once(options):
    with Server(options, options.workers) as server:
        sockets = [socket.socket() for _ in range(500)]
        for one in sockets:
            one.setblocking(False)
            one.connect_ex(server.address)
        clients = []
        for one in sockets:
            require(select.select([], [one], [], PATIENCE_S)[1], "a connection is not accepted")
            client = Client.__new__(Client)
            client.socket = one
            one.settimeout(PATIENCE_S)
            clients.append(client)
        for turn in range(5):
            for number, client in enumerate(clients):
                client.send(frame(ECHO, struct.pack("<II", turn, number)) * 3)
            for number, client in enumerate(clients):
                client.expect(frame(ECHO, struct.pack("<II", turn, number)) * 3)


def a_lack_of_descriptors_is_survived(options):
    limit = 64
    with Server(options, descriptors=limit) as server:
        first = Client(server)
        first.echo()
        crowd = [Client(server) for _ in range(2 * limit)]
        first.echo()
        for client in crowd:
            client.socket.close()
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                Client(server).echo()
                break
            except (OSError, AssertionError):
                require(time.monotonic() < until, "nobody is let in any more")
        first.echo()


def hold_back(server, silent, identifier, send):
    """Has answers sent to a client that does not read, until some wait in the server. What the client has to get then."""
    fence, sent, answered = Client(server), [], 0
    fence.echo()
    server.narrow(silent)
    while server.held(silent, answered) < 500_000:
        require(answered < 32 << 20, "nothing ever waits for a client that does not read")
        batch = [frame(identifier, struct.pack("<I", len(sent) + number) + pattern(996)) for number in range(32)]
        send(*batch)
        sent += batch
        answered += sum(map(len, batch))
        fence.echo()
    return sent


def who_reads_late_gets_everything(options):
    with Server(options, options.workers) as server:
        late = Client(server, receive_bytes=4096)
        late.expect(*hold_back(server, late, ECHO, late.send))
        late.echo()
        wanted = hold_back(server, late, ECHO, late.send)
        late.socket.shutdown(socket.SHUT_WR)
        late.expect(*wanted)
        late.expect_end()
        gone = Client(server, receive_bytes=4096)
        hold_back(server, gone, ECHO, gone.send)
        gone.reset()
        Client(server).echo()


def who_never_reads_is_ended(options):
    with Server(options, options.workers) as server:
        bystander, silent = Client(server), Client(server, receive_bytes=4096)
        message, sent, ended = frame(ECHO, pattern(1000)) * 16, 0, False
        silent.socket.setblocking(False)
        until = time.monotonic() + PATIENCE_S
        while not ended:
            require(time.monotonic() < until, "a client that does not read is not ended")
            require(sent < 32 << 20, f"{sent} bytes were taken from a client that does not read")
            begin = sent % len(message)
            try:
                sent += silent.socket.send(message[begin:])
            except BlockingIOError:
                bystander.echo()
            except (ConnectionResetError, BrokenPipeError):
                ended = True
        bystander.echo()
        server.cut_off = 1


def many_who_never_read_are_ended(options):
    with Server(options, options.workers) as server:
        bystander, silent = Client(server), [Client(server, receive_bytes=4096) for _ in range(40)]
        left, message = set(silent), frame(ECHO, pattern(1020)) * 16
        for client in silent:
            client.socket.setblocking(False)
            client.sent = 0
        until = time.monotonic() + PATIENCE_S
        while left:
            require(time.monotonic() < until, f"{len(left)} of 40 clients that do not read are not ended")
            for client in list(left):
                try:
                    client.sent += client.socket.send(message[client.sent % len(message) :])
                except BlockingIOError:
                    pass
                except (ConnectionResetError, BrokenPipeError):
                    left.remove(client)
            bystander.echo()
        server.cut_off = len(silent)


def rooms_hear_one_order(options):
    with Server(options, options.workers) as server:
        members, outsider = [Client(server) for _ in range(3)], Client(server)
        for member in members:
            member.join(7)
        outsider.join(8)
        for number in range(300):
            for speaker, member in enumerate(members):
                member.send(frame(SAY, struct.pack("<II", speaker, number) + pattern(speaker * 30)))
        heard = [[member.next() for _ in range(900)] for member in members]
        require(heard[0] == heard[1] == heard[2], "members of one room hear different orders")
        for speaker in range(3):
            said = [(SAY, struct.pack("<II", speaker, number) + pattern(speaker * 30)) for number in range(300)]
            require([one for one in heard[0] if one in said] == said, "a speaker's frames are missing or out of order")
        outsider.echo()
        members[0].join(8)
        members[1].send(frame(SAY, b"in 7"))
        outsider.send(frame(SAY, b"in 8"))
        for member, words in ((members[0], b"in 8"), (outsider, b"in 8"), (members[1], b"in 7"), (members[2], b"in 7")):
            member.expect(frame(SAY, words))
            member.echo()
        members[1].socket.close()
        members[2].send(frame(SAY, pattern(65531)), frame(SAY, b"alone"))
        members[2].expect(frame(SAY, pattern(65531)), frame(SAY, b"alone"))


def a_session_moves_in_one_write(options):
    with Server(options, options.workers) as server:
        frames = [frame(JOIN, b"\1\0\0\0"), frame(SAY, b"one"), frame(JOIN, b"\2\0\0\0"), frame(SAY, b"two"), frame(ECHO)]
        client = Client(server)
        client.send(*frames)
        heard = [client.next() for _ in frames]
        require(sorted(heard) == sorted((one[2], one[4:]) for one in frames), f"it hears {heard}")
        client.echo()


def who_finishes_is_still_heard(options):
    with Server(options, options.workers) as server:
        listener, speaker = Client(server), Client(server)
        listener.join(1)
        speaker.join(1)
        said = [frame(SAY, struct.pack("<I", number)) for number in range(500)]
        speaker.send(*said)
        speaker.socket.shutdown(socket.SHUT_WR)
        listener.expect(*said)
        listener.echo()


def a_member_that_never_reads_holds_nobody_up(options):
    with Server(options, options.workers) as server:
        speaker, listener, silent = Client(server), Client(server), Client(server, receive_bytes=4096)
        for member in (speaker, listener, silent):
            member.join(3)
        said = [frame(SAY, pattern(1000, number)) for number in range(32)]
        for _ in range(800):
            speaker.send(*said)
            speaker.expect(*said)
            listener.expect(*said)
        server.cut_off = 1


def a_member_that_reads_late_gets_everything(options):
    with Server(options, options.workers) as server:
        speaker, late = Client(server), Client(server, receive_bytes=4096)
        speaker.join(4)
        late.join(4)

        def say(*frames):
            speaker.send(*frames)
            speaker.expect(*frames)

        late.expect(*hold_back(server, late, SAY, say))
        hold_back(server, late, SAY, say)
        late.reset()
        say(frame(SAY, b"alone"))


ALWAYS = [
    arguments_are_refused,
    two_workers_are_served_or_refused,
    sockets_are_alike,
    frames_in_one_write_are_all_answered,
    split_frames_are_put_together,
    the_largest_frames_are_answered,
    violations_end_the_session,
    who_finishes_gets_all_answers,
    resets_concern_nobody_else,
    five_hundred_at_once,
    a_lack_of_descriptors_is_survived,
    who_reads_late_gets_everything,
    who_never_reads_is_ended,
    many_who_never_read_are_ended,
]
OF_ROOMS = [
    rooms_hear_one_order,
    a_session_moves_in_one_write,
    who_finishes_is_still_heard,
    a_member_that_never_reads_holds_nobody_up,
    a_member_that_reads_late_gets_everything,
]


def main():
    parser = argparse.ArgumentParser(description="checks that a server keeps the contract of the peers")
    parser.add_argument("--without-rooms", dest="rooms", action="store_false", help="JOIN and SAY are unknown ids")
    parser.add_argument("--workers", type=int, default=1, help="threads of the server where the check does not say")
    parser.add_argument("--only", help="the one check to run")
    parser.add_argument("program", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    checks = [check for check in ALWAYS + OF_ROOMS * options.rooms if options.only in (None, check.__name__)]
    if not options.program or not checks:
        parser.error("a program and a check that exists are needed")
    failed = 0
    for check in checks:
        try:
            check(options)
            print(f"ok      {check.__name__}", flush=True)
        except (AssertionError, OSError, subprocess.SubprocessError):
            failed += 1
            print(f"FAILED  {check.__name__}\n{traceback.format_exc()}", flush=True)
    print(f"{len(checks) - failed} of {len(checks)} checks hold")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
