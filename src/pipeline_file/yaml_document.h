#pragma once

// YAML as a tree that remembers where everything stands. No anchors, aliases, tags or second documents: a file says
// what it says once, in the size that it has.

#include <cairn/error.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace cairn {

/// Both from 1; the column counts bytes.
struct YamlMark {
    int line = 1;
    int column = 1;
};

struct YamlMember;

struct YamlNode {
    enum class Kind : std::uint8_t { kNull, kScalar, kList, kMap };

    Kind kind = Kind::kNull;
    YamlMark mark = {};
    std::string text = {};  ///< Of a scalar.
    bool is_plain = false;  ///< It stands there without quotes, so that it may be a number.
    std::vector<YamlNode> items;
    std::vector<YamlMember> members;
};

struct YamlMember {
    YamlNode key;  ///< A scalar; no other member of the map has this text.
    YamlNode value;
};

/// What is wrong, and where. Thrown by all that reads a file, and caught where it becomes an `Error`.
class YamlProblem : public std::runtime_error {
public:
    YamlProblem(YamlMark place, const std::string& message) : std::runtime_error(message), mark(place) {}

    YamlMark mark;
};

/// The file's one document. Throws YamlProblem. Nesting is bounded, and what it costs grows with the text alone.
YamlNode parse_yaml(std::string_view text);

/// Normal text of the JSON that the node means: plain scalars by YAML's core schema, numbers with the digits that they
/// have there. Throws YamlProblem: `.nan`, `.inf`, a merge key.
std::string to_json_text(const YamlNode& node);

/// "a list", "nothing", "\"7 days\"": for messages.
std::string describe(const YamlNode& node);

}  // namespace cairn
