#pragma once

// Reads typed values from YAML. Each reader accepts one kind, and refuses anything else with the kind that it accepts.
// All throw YamlProblem.

#include "pipeline_file/yaml_document.h"

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace cairn {

/// A map whose members must all be known.
class YamlFields {
public:
    /// `what` is for messages: "a step".
    YamlFields(const YamlNode& map, std::string_view what, std::initializer_list<std::string_view> accepted);

    /// Null if it does not exist.
    const YamlNode* find(std::string_view key) const;
    const YamlNode& require(std::string_view key) const;
    const YamlMark& mark() const { return map_.mark; }

private:
    const YamlNode& map_;
    std::string_view what_;
};

/// Throws "\"timeout\" is a list: give a duration": the one way to refuse a value.
[[noreturn]] void refuse(const YamlNode& node, std::string_view key, std::string_view accepted);

/// Text that is not empty.
std::string read_text(const YamlNode& node, std::string_view key);
/// 1 to 255 bytes without control characters, as the library accepts names.
std::string read_name(const YamlNode& node, std::string_view key);
bool read_bool(const YamlNode& node, std::string_view key);
int read_whole_number(const YamlNode& node, std::string_view key, int least, int most);
/// "500ms", "10s", "2m", "1h"; at most 30 days.
std::chrono::milliseconds read_duration(const YamlNode& node, std::string_view key);
/// "64MB", "10kB", "1GB" (times 1024) or bytes; at least 1, at most 1 TB.
std::uint64_t read_size(const YamlNode& node, std::string_view key);
const std::vector<YamlNode>& read_list(const YamlNode& node, std::string_view key);

}  // namespace cairn
