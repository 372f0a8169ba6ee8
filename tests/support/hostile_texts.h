#pragma once

// Texts that an attacker would choose to slow a program down, and a measure of the CPU time that they cost.

#include <ctime>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace cairn::test {

/// Makes different keys that all have the same std::hash; each bit of choice takes 16 bytes of a key. libstdc++'s hash
/// is MurmurHash64A with a known seed, and two pairs of blocks lead to the same state after two blocks.
class CollidingKeys {
public:
    static std::vector<std::string> make(unsigned bits) {
        CollidingKeys keys(bits);
        std::vector<std::string> all(std::size_t{1} << bits);
        for (std::size_t i = 0; i < all.size(); ++i) {
            for (unsigned bit = 0; bit < bits; ++bit) {
                const auto& [zero, one] = keys.pairs_[bit];
                all[i] += (i >> bit & 1) == 0 ? zero : one;
            }
        }
        std::ranges::shuffle(all, std::mt19937_64(bits));
        return all;
    }

private:
    static constexpr std::uint64_t kFactor = 0xC6A4'A793'5BD1'E995;

    explicit CollidingKeys(unsigned bits) : state_(0xC70F'6907 ^ (16 * bits * kFactor)) {
        for (unsigned bit = 0; bit < bits; ++bit) add_pair();
    }

    void add_pair() {
        while (true) {
            const std::uint64_t first = block();
            const std::uint64_t second = block();
            const std::uint64_t other = block();
            const std::uint64_t wanted = step(state_, first) ^ mixed(second);
            const std::uint64_t other_second = unmixed(step(state_, other) ^ wanted);
            if (first == other || !is_plain(other_second)) continue;
            pairs_.emplace_back(text(first) + text(second), text(other) + text(other_second));
            state_ = wanted * kFactor;
            return;
        }
    }

    static std::uint64_t mixed(std::uint64_t block) {
        block *= kFactor;
        return (block ^ block >> 47) * kFactor;
    }
    static std::uint64_t unmixed(std::uint64_t block) {
        block *= inverse();
        return (block ^ block >> 47) * inverse();
    }
    static std::uint64_t inverse() {
        std::uint64_t inverse = kFactor;  // Newton's method: each round doubles the number of right bits
        for (int i = 0; i < 6; ++i) inverse *= 2 - kFactor * inverse;
        return inverse;
    }
    static std::uint64_t step(std::uint64_t state, std::uint64_t block) { return (state ^ mixed(block)) * kFactor; }

    std::uint64_t block() {
        std::array<char, 8> letters{};
        for (char& letter : letters) letter = static_cast<char>('a' + random_() % 26);
        std::uint64_t block = 0;
        std::memcpy(&block, letters.data(), sizeof block);
        return block;
    }
    static std::string text(std::uint64_t block) {
        std::string text(sizeof block, ' ');
        std::memcpy(text.data(), &block, sizeof block);
        return text;
    }
    static bool is_plain(std::uint64_t block) {
        return std::ranges::all_of(text(block), [](char c) { return c >= ' ' && c < 0x7F && c != '"' && c != '\\'; });
    }

    std::mt19937_64 random_{1};
    std::uint64_t state_;
    std::vector<std::pair<std::string, std::string>> pairs_;
};

/// Makes `{"key":value,…}` with all of `keys`.
inline std::string object_of(const std::vector<std::string>& keys, const std::string& value) {
    std::string text;
    for (const std::string& key : keys) text += (text.empty() ? "{\"" : ",\"") + key + "\":" + value;
    return text + "}";
}

/// Makes `{"a":{"a": … }}` around `innermost`.
inline std::string nested_objects(std::size_t depth, const std::string& innermost) {
    std::string text;
    for (std::size_t i = 0; i < depth; ++i) text += R"({"a":)";
    return text + innermost + std::string(depth, '}');
}

/// Returns the CPU time that the work costs this thread, the least of three runs. Other load of the machine is not
/// included.
template <class Work>
double seconds_of_cpu(const Work& work) {
    const auto now = [] {
        std::timespec time{};
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
        return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
    };
    double least = 1e9;
    for (int i = 0; i < 3; ++i) {
        const double begin = now();
        work();
        least = std::min(least, now() - begin);
    }
    return least;
}

}  // namespace cairn::test
