#include "cli/json_diff.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <utility>

namespace cairn::cli {
namespace {

struct Member {
    std::string key;  ///< Its meaning, see meaning_of.
    std::string_view value;
};

// Reads normal text that is known to be valid: no checks, no white space.
class Reader {
public:
    explicit Reader(std::string_view text) : text_(text) {}

    char next() const { return text_[place_]; }
    void skip() { ++place_; }

    std::string_view take_value() {
        const std::size_t start = place_;
        if (next() == '"') {
            skip_string();
        } else if (next() == '{' || next() == '[') {
            skip_container();
        } else {
            place_ = std::min(text_.find_first_of(",}]", place_), text_.size());
        }
        return text_.substr(start, place_ - start);
    }

private:
    void skip_string() {
        for (skip(); next() != '"'; skip()) {
            if (next() == '\\') skip();
        }
        skip();
    }

    void skip_container() {
        std::size_t depth = 0;
        do {
            if (next() == '"') {
                skip_string();
                continue;
            }
            if (next() == '{' || next() == '[') ++depth;
            if (next() == '}' || next() == ']') --depth;
            skip();
        } while (depth > 0);
    }

    std::string_view text_;
    std::size_t place_ = 0;
};

std::string_view without_quotes(std::string_view string_token) {
    return string_token.substr(1, string_token.size() - 2);
}

// A key with lone surrogates has no UTF-8 form. It stays as it is written, behind a byte that no UTF-8 has.
constexpr char kAsWritten = '\xFF';

std::string meaning_of(std::string_view key_token) {
    if (!key_token.contains('\\')) return std::string(without_quotes(key_token));
    const auto parsed = nlohmann::json::parse(key_token, nullptr, false);
    if (parsed.is_string()) return parsed.get<std::string>();
    return kAsWritten + std::string(without_quotes(key_token));
}

std::vector<Member> members_of(std::string_view object) {
    std::vector<Member> members;
    Reader reader(object);
    for (reader.skip(); reader.next() != '}';) {
        if (reader.next() == ',') reader.skip();
        const std::string_view key = reader.take_value();
        reader.skip();  // the colon
        members.push_back({.key = meaning_of(key), .value = reader.take_value()});
    }
    return members;
}

std::vector<std::string_view> elements_of(std::string_view array) {
    std::vector<std::string_view> elements;
    Reader reader(array);
    for (reader.skip(); reader.next() != ']';) {
        if (reader.next() == ',') reader.skip();
        elements.push_back(reader.take_value());
    }
    return elements;
}

// JSON Pointer's escapes for the character that `token` stands for; any other token stays.
std::string_view pointer_escape(std::string_view token) {
    if (token == "~" || token == "\\u007e" || token == "\\u007E") return "~0";
    if (token == "/" || token == "\\/" || token == "\\u002f" || token == "\\u002F") return "~1";
    return token;
}

// `text` as a step of a JSON Pointer. `escaped`: it has the escapes of a JSON string, which stay.
std::string pointer_step(std::string_view text, bool escaped) {
    std::string step = "/";
    while (!text.empty()) {
        const bool escape = escaped && text.starts_with('\\');
        const std::size_t length = !escape ? 1 : text[1] == 'u' ? 6 : 2;
        step += pointer_escape(text.substr(0, length));
        text.remove_prefix(length);
    }
    return step;
}

// "/key" as JSON Pointer writes it, as it then stands between the quotes of a JSON string.
std::string path_step(const std::string& key) {
    if (key.starts_with(kAsWritten)) return pointer_step(std::string_view(key).substr(1), true);
    const std::string quoted = nlohmann::json(pointer_step(key, false)).dump();
    return std::string(without_quotes(quoted));
}

using MemberIndex = std::unordered_map<std::string_view, const Member*>;

// Nothing if a key occurs twice: a path could then mean either.
std::optional<MemberIndex> index_of(const std::vector<Member>& members) {
    MemberIndex index;
    for (const Member& member : members) {
        if (!index.emplace(member.key, &member).second) return std::nullopt;
    }
    return index;
}

class Differ {
public:
    std::vector<JsonChange> take_changes() { return std::move(changes_); }

    void compare(std::string_view before, std::string_view after) {
        if (before == after) return;
        if (before.front() == '{' && after.front() == '{') return compare_objects(before, after);
        if (before.front() == '[' && after.front() == '[') return compare_arrays(before, after);
        replace(before, after);
    }

private:
    void compare_objects(std::string_view before, std::string_view after) {
        const auto old_members = members_of(before);
        const auto new_members = members_of(after);
        const auto old_index = index_of(old_members);
        const auto new_index = index_of(new_members);
        if (!old_index || !new_index) return replace(before, after);

        const std::size_t changes_before = changes_.size();
        for (const Member& member : old_members) compare_member(member, *new_index);
        for (const Member& member : new_members) {
            if (!old_index->contains(member.key)) at(path_step(member.key), [&] { add(member.value); });
        }
        if (changes_.size() == changes_before) replace(before, after, true);
    }

    void compare_member(const Member& member, const MemberIndex& new_index) {
        const auto found = new_index.find(member.key);
        at(path_step(member.key), [&] {
            if (found == new_index.end()) return remove(member.value);
            compare(member.value, found->second->value);
        });
    }

    void compare_arrays(std::string_view before, std::string_view after) {
        std::vector<std::string_view> left = elements_of(before);
        std::vector<std::string_view> right = elements_of(after);
        while (!left.empty() && !right.empty() && left.back() == right.back()) {
            left.pop_back();
            right.pop_back();
        }
        const std::size_t common = std::min(left.size(), right.size());
        for (std::size_t i = 0; i < common; ++i) at(index_step(i), [&] { compare(left[i], right[i]); });
        // From the end, so that each removal leaves the places of the others alone.
        for (std::size_t i = left.size(); i > common; --i) at(index_step(i - 1), [&] { remove(left[i - 1]); });
        for (std::size_t i = common; i < right.size(); ++i) at(index_step(i), [&] { add(right[i]); });
    }

    static std::string index_step(std::size_t index) { return fmt::format("/{}", index); }

    template <class Action>
    void at(const std::string& step, Action action) {
        const std::size_t length = path_.size();
        path_ += step;
        action();
        path_.resize(length);
    }

    void add(std::string_view value) { changes_.push_back({JsonChange::Kind::kAdd, path_, {}, value}); }
    void remove(std::string_view value) { changes_.push_back({JsonChange::Kind::kRemove, path_, value, {}}); }
    void replace(std::string_view before, std::string_view after, bool keys_only = false) {
        changes_.push_back({JsonChange::Kind::kReplace, path_, before, after, keys_only});
    }

    std::string path_;
    std::vector<JsonChange> changes_;
};

std::string_view operation_of(JsonChange::Kind kind) {
    switch (kind) {
        case JsonChange::Kind::kAdd:
            return "add";
        case JsonChange::Kind::kRemove:
            return "remove";
        case JsonChange::Kind::kReplace:
            break;
    }
    return "replace";
}

}  // namespace

std::vector<JsonChange> diff_json(std::string_view before, std::string_view after) {
    Differ differ;
    differ.compare(before, after);
    return differ.take_changes();
}

std::string to_json_patch(const std::vector<JsonChange>& changes) {
    std::string patch = "[";
    for (const JsonChange& change : changes) {
        if (patch.size() > 1) patch += ",\n ";
        patch.append(R"({"op":")").append(operation_of(change.kind));
        patch.append(R"(","path":")").append(change.path).append("\"");
        if (change.kind != JsonChange::Kind::kRemove) patch.append(R"(,"value":)").append(change.after);
        patch += "}";
    }
    return patch + "]";
}

}  // namespace cairn::cli
