#pragma once

// The content of tests/fault/data/first_deltas.db.zst: the run "run" with twelve states. All but the first are deltas,
// most of them compressed. `OptimizedStatePersistence::save_agent_state` of the first published build with deltas
// (35f2202) wrote the file. Then it was closed and packed with `zstd -19`. It is never written again.

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <string>

namespace cairn::test {

constexpr int kFirstDeltas = 12;

/// Makes a conversation that is one message longer in each version. A message takes most of its words from an earlier
/// one, 3 to 30 kB before, so it is compressed well only with the right context.
inline std::string first_deltas_text(int version) {
    std::uint64_t random = 1;
    const auto below = [&random](std::uint64_t bound) {
        random = random * 6364136223846793005U + 1442695040888963407U;
        return (random >> 33U) % bound;
    };
    std::string messages;
    for (int message = 0; message < 20 + version; ++message) {
        std::string text = fmt::format("message {}:", message);
        if (messages.size() > 4000) {
            const std::size_t back = 3000 + below(std::min<std::size_t>(messages.size() - 4000, 27'000) + 1);
            text += messages.substr(messages.size() - back, 200 * (1 + below(4)));
            std::erase(text, '"');
        }
        for (int word = 0; word < 100; ++word) text += fmt::format(" {:x}", below(1U << 20U));
        messages += fmt::format(R"("{}",)", text);
    }
    return fmt::format(R"({{"version":{},"messages":[{}"end"]}})", version, messages);
}

}  // namespace cairn::test
