#pragma once

// Random JSON for the tests of State. It is a tree of tokens, which can be printed with and without white space, and
// with its keys in another order. So a test knows the text that a State must hold without a JSON library.

#include <cstdint>
#include <cstdlib>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cairn::test {

/// Returns the first seed of the random tests. CAIRN_TEST_SEED=n sets another one, which replays a failure.
inline std::uint64_t first_seed() {
    const char* seed = std::getenv("CAIRN_TEST_SEED");
    return seed == nullptr ? 20240501 : std::strtoull(seed, nullptr, 10);
}

class Random {
public:
    explicit Random(std::uint64_t seed) : engine_(seed) {}

    std::size_t below(std::size_t bound) { return engine_() % bound; }
    bool one_in(std::size_t times) { return below(times) == 0; }

    template <class Container>
    const auto& pick(const Container& from) {
        return from[below(from.size())];
    }

private:
    std::mt19937_64 engine_;
};

struct JsonNode {
    std::string token;  ///< The scalar's token, or a container's opening bracket.
    std::vector<std::pair<std::string, JsonNode>> children =
        {};  ///< With keys as written; in arrays the keys are empty.

    bool is_object() const { return token == "{"; }
};

inline std::string random_string_token(Random& random) {
    static const std::vector<std::string> kPieces{
        "a",   "Z",       "step", "\\n",  "\\\"",     "\\\\",   "\\/",      "\\u0000", "\\ud800", "\\uDBFF\\uDFFF",
        "é",   "你好",    "😀",   "\x7F", "{",        "}]",     ",",        ":",       " ",       "  \\t  ",
        "\\b", "\\u00e9", "/",    "'",    "\\\\\\\"", "\u2028", "\\\\\\\\", "null",    "[1,2]",   "//"};
    std::string token = "\"";
    for (std::size_t count = random.one_in(20) ? 200 : random.below(6); count > 0; --count)
        token += random.pick(kPieces);
    return token + '"';
}

inline JsonNode random_scalar(Random& random) {
    static const std::vector<std::string> kTokens{"0",
                                                  "-0",
                                                  "-0.0",
                                                  "1",
                                                  "1.0",
                                                  "12",
                                                  "21",
                                                  "1E400",
                                                  "-1e-400",
                                                  "true",
                                                  "false",
                                                  "null",
                                                  "1e+5",
                                                  "1e5",
                                                  "{}",
                                                  "[]",
                                                  "0.1",
                                                  "3.1415926535897931",
                                                  "123456789012345678901234567890"};
    const std::string token = random.one_in(2) ? random_string_token(random) : random.pick(kTokens);
    if (token == "{}" || token == "[]") return {token.substr(0, 1)};
    return {token};
}

inline JsonNode random_node(Random& random, std::size_t depth);

inline JsonNode random_container(Random& random, std::size_t depth, bool is_object) {
    JsonNode node{is_object ? "{" : "["};
    for (std::size_t count = random.below(7); count > 0; --count) {
        std::string key = !is_object ? "" : random.one_in(3) ? "\"k\"" : random_string_token(random);
        node.children.emplace_back(std::move(key), random_node(random, depth));
    }
    return node;
}

inline JsonNode random_node(Random& random, std::size_t depth) {
    if (depth == 0 || random.one_in(2)) return random_scalar(random);
    return random_container(random, depth - 1, random.one_in(2));
}

inline JsonNode random_state(Random& random) {
    return random_container(random, 5, true);
}

/// Prints the tokens. `space()` returns the white space between two tokens.
template <class Space>
void print_json(const JsonNode& node, std::string& out, Space&& space) {
    out += space();
    out += node.token;
    if (node.token != "{" && node.token != "[") return;
    for (std::size_t i = 0; i < node.children.size(); ++i) {
        const auto& [key, value] = node.children[i];
        out += space();
        if (i > 0) out += ',';
        out += space();
        if (node.is_object()) out += key + space() + ':';
        print_json(value, out, space);
    }
    out += space();
    out += node.is_object() ? "}" : "]";
}

inline std::string normal_text(const JsonNode& node) {
    std::string text;
    print_json(node, text, [] { return std::string(); });
    return text;
}

inline std::string spaced_text(const JsonNode& node, Random& random) {
    static const std::vector<std::string> kSpaces{"", "", "", " ", "\n", "\t", "\r\n    ", std::string(70, ' ')};
    std::string text;
    print_json(node, text, [&] { return random.pick(kSpaces); });
    return text + random.pick(kSpaces);
}

/// Returns the same tree with the members of every object in another order. Duplicates of one key keep their order.
inline JsonNode with_keys_permuted(const JsonNode& node, Random& random) {
    JsonNode permuted{node.token};
    std::map<std::string, std::vector<JsonNode>> values;
    std::vector<std::string> keys;
    for (const auto& [key, value] : node.children) {
        values[key].push_back(with_keys_permuted(value, random));
        keys.push_back(key);
    }
    for (std::size_t i = keys.size(); node.is_object() && i > 1; --i) std::swap(keys[i - 1], keys[random.below(i)]);
    std::map<std::string, std::size_t> used;
    for (const std::string& key : keys) permuted.children.emplace_back(key, values[key][used[key]++]);
    return permuted;
}

}  // namespace cairn::test
