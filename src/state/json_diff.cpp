#include "state/json_diff.h"

#include "state/state_members.h"
#include "state/token_tree.h"
#include "state/utf8.h"
#include "state/value_hashes.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <vector>

namespace cairn {
namespace {

constexpr std::uint32_t kNone = 0xFFFF'FFFF;

std::string_view without_quotes(std::string_view string_token) {
    return string_token.size() < 2 ? std::string_view() : string_token.substr(1, string_token.size() - 2);
}

// Returns JSON Pointer's escape for the character that `token` stands for; returns any other token unchanged.
std::string_view pointer_escape(std::string_view token) {
    if (token == "~" || token == "\\u007e" || token == "\\u007E") return "~0";
    if (token == "/" || token == "\\/" || token == "\\u002f" || token == "\\u002F") return "~1";
    return token;
}

// Returns `text` as a step of a JSON Pointer.
std::string pointer_step(std::string_view text) {
    std::string step = "/";
    for (const char c : text) {
        if (c == '~' || c == '/') {
            step += c == '~' ? "~0" : "~1";
        } else {
            step += c;
        }
    }
    return step;
}

// Does the same for text with the escapes of a JSON string, which stay.
std::string pointer_step_as_written(std::string_view text) {
    std::string step = "/";
    while (!text.empty()) {
        const bool escape = text.size() > 1 && text.starts_with('\\');
        const std::size_t length = !escape ? 1 : text[1] == 'u' ? std::min<std::size_t>(6, text.size()) : 2;
        step += pointer_escape(text.substr(0, length));
        text.remove_prefix(length);
    }
    return step;
}

// Returns "/key" as JSON Pointer writes it, and as it then stands between the quotes of a JSON string. A key with lone
// surrogates has no UTF-8 form: it stays as written.
std::string path_step(std::string_view key_token) {
    const std::string meaning = unescaped_key(key_token);
    if (!is_utf8(meaning)) return pointer_step_as_written(without_quotes(key_token));
    const std::string quoted = nlohmann::json(pointer_step(meaning)).dump();
    return std::string(without_quotes(quoted));
}

/// One of the two texts. A value is identified by its first token.
class Side {
public:
    explicit Side(std::string_view text) : tree_(text) {}

    bool read() {
        if (!tree_.build()) return false;
        hashes_.emplace(tree_, ValueHashes::KeyOrder::kMatters);
        return true;
    }

    const TokenTree& tree() const { return tree_; }
    char first_byte(std::uint32_t value) const { return tree_.first_byte(value); }
    std::string_view text(std::uint32_t value) const { return value == kNone ? "" : tree_.value(value); }
    std::uint32_t hash(std::uint32_t value) const { return hashes_->of(value); }

private:
    TokenTree tree_;
    std::optional<ValueHashes> hashes_;
};

/// Walks both trees side by side, without recursion. `pairs_` is a stack of the pairs to report, the next one last.
class Differ {
public:
    Differ(const Side& before, const Side& after, const OnJsonChange& on_change)
        : before_(before), after_(after), on_change_(on_change) {}

    void run() {
        tell({.before = 0, .after = 0});
        while (!levels_.empty()) {
            const Level level = levels_.back();
            path_.resize(level.path_bytes);
            if (pairs_.size() == level.pairs_below) {
                levels_.pop_back();
                end(level);
                continue;
            }
            const Pair pair = pairs_.back();
            pairs_.pop_back();
            path_ += level.is_object ? path_step(key_of(pair)) : fmt::format("/{}", pair.index);
            tell(pair);
        }
    }

private:
    /// Two values that differ; one of them may be missing.
    struct Pair {
        std::uint32_t before = kNone;
        std::uint32_t after = kNone;
        std::uint32_t index = 0;  ///< In a list.
    };

    /// Two objects, or two lists, that are being compared.
    struct Level {
        Pair pair;
        bool is_object = false;
        std::size_t pairs_below = 0;
        std::size_t path_bytes = 0;
        std::uint64_t changes_before = 0;
    };

    void tell(const Pair& pair) {
        const char kind = pair.before == kNone || pair.after == kNone ? ' ' : before_.first_byte(pair.before);
        const bool is_container = (kind == '{' || kind == '[') && kind == after_.first_byte(pair.after);
        if (!is_container) return tell_change(pair);
        const Level level{pair, kind == '{', pairs_.size(), path_.size(), changes_};
        if (level.is_object && !pair_members(pair)) return tell_change(pair);
        if (!level.is_object) pair_elements(pair);
        std::ranges::reverse(pairs_.begin() + static_cast<std::ptrdiff_t>(level.pairs_below), pairs_.end());
        levels_.push_back(level);
    }

    // Reports texts that differ although no member does.
    void end(const Level& level) {
        if (level.is_object && changes_ == level.changes_before) tell_change(level.pair, true);
    }

    void tell_change(const Pair& pair, bool keys_only = false) {
        using enum JsonChange::Kind;
        ++changes_;
        on_change_({.kind = pair.before == kNone  ? kAdd
                            : pair.after == kNone ? kRemove
                                                  : kReplace,
                    .path = path_,
                    .before = before_.text(pair.before),
                    .after = after_.text(pair.after),
                    .keys_only = keys_only});
    }

    // Returns false if a key occurs twice: a path could then mean either.
    bool pair_members(const Pair& pair) {
        before_.tree().list_members(pair.before, old_members_);
        after_.tree().list_members(pair.after, new_members_);
        KeyNumbers keys;
        for (std::size_t i = 0; i < old_members_.size(); ++i) {
            if (keys.add(old_members_[i].key) != i) return false;
        }
        std::vector<std::uint32_t> counterparts(old_members_.size(), kNone);
        std::vector<Pair> added;
        for (const TokenMember& member : new_members_) {
            const std::size_t number = keys.add(member.key);
            const bool is_old = number < counterparts.size();
            if (is_old ? counterparts[number] != kNone : number != counterparts.size() + added.size()) return false;
            if (is_old) {
                counterparts[number] = member.value;
            } else {
                added.push_back({.after = member.value});
            }
        }
        for (std::size_t i = 0; i < counterparts.size(); ++i) add_if_different(old_members_[i].value, counterparts[i]);
        pairs_.insert(pairs_.end(), added.begin(), added.end());
        return true;
    }

    void pair_elements(const Pair& pair) {
        before_.tree().list_elements(pair.before, left_);
        after_.tree().list_elements(pair.after, right_);
        while (!left_.empty() && !right_.empty() && is_same(left_.back(), right_.back())) {
            left_.pop_back();
            right_.pop_back();
        }
        const auto left_count = static_cast<std::uint32_t>(left_.size());
        const auto right_count = static_cast<std::uint32_t>(right_.size());
        const std::uint32_t common = std::min(left_count, right_count);
        for (std::uint32_t i = 0; i < common; ++i) add_if_different(left_[i], right_[i], i);
        // Backwards, so that each removal leaves the positions of the others unchanged.
        for (std::uint32_t i = left_count; i-- > common;) pairs_.push_back({.before = left_[i], .index = i});
        for (std::uint32_t i = common; i < right_count; ++i) pairs_.push_back({.after = right_[i], .index = i});
    }

    void add_if_different(std::uint32_t before, std::uint32_t after, std::uint32_t index = 0) {
        if (after == kNone || !is_same(before, after)) pairs_.push_back({before, after, index});
    }

    bool is_same(std::uint32_t before, std::uint32_t after) const {
        return before_.hash(before) == after_.hash(after) && before_.text(before) == after_.text(after);
    }

    std::string_view key_of(const Pair& pair) const {
        return pair.before != kNone ? before_.tree().bytes(pair.before - 2) : after_.tree().bytes(pair.after - 2);
    }

    const Side& before_;
    const Side& after_;
    const OnJsonChange& on_change_;
    std::vector<Level> levels_;
    std::vector<Pair> pairs_;
    std::string path_;
    std::uint64_t changes_ = 0;
    std::vector<TokenMember> old_members_;
    std::vector<TokenMember> new_members_;
    std::vector<std::uint32_t> left_;
    std::vector<std::uint32_t> right_;
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

void diff_json(std::string_view before, std::string_view after, const OnJsonChange& on_change) {
    if (before == after) return;
    Side old_side(before);
    Side new_side(after);
    if (!old_side.read() || !new_side.read()) return on_change({.before = before, .after = after});
    Differ(old_side, new_side, on_change).run();
}

std::string to_json_operation(const JsonChange& change) {
    std::string operation = R"({"op":")";
    operation.append(operation_of(change.kind)).append(R"(","path":")").append(change.path).append("\"");
    if (change.kind != JsonChange::Kind::kRemove) operation.append(R"(,"value":)").append(change.after);
    return operation + "}";
}

}  // namespace cairn
