// Rooms: who is in one. All members see one order, that in which a room's mutex is taken.

#pragma once

#include <algorithm>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "buffers.hpp"

template <class Threading>
class Session;

template <class Threading>
class Room {
public:
    using Member = std::shared_ptr<Session<Threading>>;

    void join(Member member) {
        std::lock_guard lock(mutex);
        members.push_back(std::move(member));
    }

    void leave(const Session<Threading>* session) {
        std::lock_guard lock(mutex);
        std::erase_if(members, [session](const Member& member) { return member.get() == session; });
    }

    void say(const Slice& frame) {
        std::lock_guard lock(mutex);
        for (const Member& member : members) {
            member->hear(frame);
        }
    }

    void clear() {
        std::lock_guard lock(mutex);
        members.clear();
    }

private:
    typename Threading::Mutex mutex;
    std::vector<Member> members;
};

// All rooms by number. An empty one stays: a benchmark has few.
template <class Threading>
class Rooms {
public:
    std::shared_ptr<Room<Threading>> get(std::uint32_t number) {
        std::lock_guard lock(mutex);
        auto& room = rooms[number];
        if (!room) {
            room = std::make_shared<Room<Threading>>();
        }
        return room;
    }

    // Sessions and rooms hold each other.
    void clear() {
        for (auto& [number, room] : rooms) {
            room->clear();
        }
    }

private:
    typename Threading::Mutex mutex;
    std::unordered_map<std::uint32_t, std::shared_ptr<Room<Threading>>> rooms;
};
