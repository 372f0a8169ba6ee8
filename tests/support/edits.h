#pragma once

// Makes random texts and random edits of them, including edits that no agent would make.

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <random>
#include <string>

namespace cairn::test {

/// Makes texts and edits from one engine, so that one seed replays all of them.
class Edits {
public:
    explicit Edits(std::uint64_t seed) : engine_(seed) {}

    std::size_t below(std::size_t limit) { return limit == 0 ? 0 : static_cast<std::size_t>(engine_() % limit); }

    /// Makes a text that compresses well, a little, or not at all.
    std::string text(std::size_t bytes) {
        switch (below(4)) {
            case 0:
                return noise(bytes);
            case 1:
                return std::string(bytes, static_cast<char>('a' + below(26)));
            default:
                return messages(bytes);
        }
    }

    /// Makes so many edits to `text`: blocks are inserted, deleted, moved, swapped, replaced, repeated or changed.
    std::string edited(std::string text, std::size_t edits) {
        for (std::size_t i = 0; i < edits; ++i) edit(text);
        return text;
    }

private:
    std::string noise(std::size_t bytes) {
        std::string made(bytes, '\0');
        for (char& byte : made) byte = static_cast<char>(engine_());
        return made;
    }

    std::string messages(std::size_t bytes) {
        std::string made;
        while (made.size() < bytes) {
            made += fmt::format(R"({{"role":"tool","id":{},"content":"step {} of {}"}},)", engine_() % 100'000,
                                below(50), below(1'000'000));
        }
        made.resize(bytes);
        return made;
    }

    void edit(std::string& text) {
        const std::size_t at = below(text.size() + 1);
        const std::size_t bytes = std::min(text.size() - at, below(std::size_t{1} << below(14)));
        const std::size_t to = below(text.size() - bytes + 1);
        const std::string block = text.substr(at, bytes);
        switch (below(6)) {
            case 0:
                text.insert(at, this->text(below(std::size_t{1} << below(13))));
                break;
            case 1:
                text.erase(at, bytes);
                break;
            case 2:  // moved
                text.erase(at, bytes);
                text.insert(to, block);
                break;
            case 3:  // there twice
                text.insert(to, block);
                break;
            case 4:
                text.replace(at, bytes, this->text(bytes));
                break;
            default:
                if (at < text.size()) text[at] = static_cast<char>(text[at] + 1);
        }
    }

    std::mt19937_64 engine_;
};

}  // namespace cairn::test
