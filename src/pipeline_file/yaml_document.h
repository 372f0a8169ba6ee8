#pragma once

// YAML as a tree that remembers the place of every node. Anchors, aliases, tags and second documents are refused: a
// file says everything once, and costs what its size says.

#include <cairn/error.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace cairn {

/// Both count from 1; the column counts bytes.
struct YamlMark {
    int line = 1;
    int column = 1;
};

struct YamlMember;

struct YamlNode {
    enum class Kind : std::uint8_t { kNull, kScalar, kList, kMap };

    Kind kind = Kind::kNull;
    YamlMark mark = {};
    std::string text = {};  ///< For a scalar.
    bool is_plain = false;  ///< Written without quotes, so it may be a number.
    std::vector<YamlNode> items;
    std::vector<YamlMember> members;
};

struct YamlMember {
    YamlNode key;  ///< A scalar; no other member of the map has this text.
    YamlNode value;
};

/// A problem and its place. Every function that reads a file throws it; it is caught where it becomes an `Error`.
class YamlProblem : public std::runtime_error {
public:
    YamlProblem(YamlMark place, const std::string& message) : std::runtime_error(message), mark(place) {}

    YamlMark mark;
};

/// Returns the file's one document. Throws YamlProblem. Nesting is bounded, and the cost grows only with the text.
YamlNode parse_yaml(std::string_view text);

/// Returns the normal text of the JSON that the node means: plain scalars by YAML's core schema, numbers with their
/// digits as written. Throws YamlProblem: `.nan`, `.inf`, a merge key.
std::string to_json_text(const YamlNode& node);

/// "a list", "nothing", "\"7 days\"": for messages.
std::string describe(const YamlNode& node);

}  // namespace cairn
