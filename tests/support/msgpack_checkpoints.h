#pragma once

// Checkpoints as LangGraph's savers get them: msgpack with a list of messages inside, and what changes at each step
// (id, time, versions of the channels) around it.

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::test {

/// Writes the parts of msgpack that checkpoints need.
class Msgpack {
public:
    Msgpack& map(std::size_t members) { return head(members, 0x80, 0xde); }
    Msgpack& list(std::size_t elements) { return head(elements, 0x90, 0xdc); }
    Msgpack& text(std::string_view text) {
        bytes_ += '\xda';
        big_endian(text.size(), 2);
        bytes_ += text;
        return *this;
    }
    Msgpack& number(std::uint64_t number) {
        bytes_ += '\xcf';
        big_endian(number, 8);
        return *this;
    }
    const std::string& bytes() const { return bytes_; }

private:
    Msgpack& head(std::size_t count, unsigned small, unsigned large) {
        if (count < 16) {
            bytes_ += static_cast<char>(small | count);
        } else {
            bytes_ += static_cast<char>(large);
            big_endian(count, 2);
        }
        return *this;
    }
    void big_endian(std::uint64_t value, int bytes) {
        for (int i = bytes - 1; i >= 0; --i) bytes_ += static_cast<char>(value >> (8 * i) & 0xFFU);
    }

    std::string bytes_;
};

/// A conversation, of which each step adds a message of 1.7 kB.
class Conversation {
public:
    explicit Conversation(std::uint64_t seed) : random_(seed) {
        for (std::string& word : words_) word = noise(3 + random_() % 8);
    }

    void add_message() { messages_.push_back(message()); }
    void rewrite_first() { messages_.front().replace(200, 40, noise(40)); }
    void keep_last(std::size_t count) {
        while (messages_.size() > count) messages_.pop_front();
    }

    std::string checkpoint() {
        ++step_;
        Msgpack out;
        out.map(6).text("v").number(4).text("ts").text(
            fmt::format("2026-11-28T10:{:02}:{:02}+00:00", step_ / 60, step_ % 60));
        out.text("id").text(noise(36));
        out.text("channel_values").map(2).text("messages").list(messages_.size());
        for (const std::string& each : messages_) {
            out.map(3).text("type").text("ai").text("id").text(each.substr(0, 36)).text("content").text(each);
        }
        out.text("__start__").text("");
        out.text("channel_versions").map(2).text("messages").text(version()).text("__start__").text(version());
        out.text("versions_seen").map(1).text("agent").map(1).text("branch:to:agent").text(version());
        return out.bytes();
    }

private:
    std::string version() { return fmt::format("{:032}.0.{:016}", step_, random_() % 10'000'000'000'000'000U); }

    std::string noise(std::size_t bytes) {
        std::string text(bytes, ' ');
        for (char& letter : text) letter = static_cast<char>('a' + random_() % 26);
        return text;
    }

    // Half of the words are said again from what was said shortly before, as in a conversation.
    std::string message() {
        std::string text = noise(36);
        while (text.size() < 1700) {
            const bool is_said_again = said_.size() >= kRecent && random_() % 2 == 0;
            const std::size_t word =
                is_said_again ? said_[said_.size() - 1 - random_() % kRecent] : random_() % std::size(words_);
            said_.push_back(word);
            text += ' ';
            text += words_[word];
        }
        return text;
    }

    static constexpr std::size_t kRecent = 600;
    static constexpr std::size_t kWords = 4000;
    std::mt19937_64 random_;
    std::string words_[kWords];
    std::vector<std::size_t> said_;
    std::deque<std::string> messages_;
    std::uint64_t step_ = 0;
};

}  // namespace cairn::test
