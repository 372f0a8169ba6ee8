// The merger `merge`. Each text is read once, into a tree. The trees are then walked side by side, without recursion;
// hashes show where two values differ. So no level is read again at another level.

#include "pipeline/merge/mergers.h"
#include "pipeline/messages.h"
#include "state/json_path.h"
#include "state/state_equality.h"
#include "state/state_members.h"
#include "state/token_tree.h"
#include "state/value_hashes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cairn {
namespace {

constexpr std::uint32_t kNone = 0xFFFF'FFFF;

/// A text to merge. A value is identified by its first token.
class MergedText {
public:
    explicit MergedText(std::string_view text) : tree_(text) {}

    bool read() {
        if (!tree_.build()) return false;
        hashes_.emplace(tree_, ValueHashes::KeyOrder::kIgnored);
        return true;
    }

    const TokenTree& tree() const { return tree_; }
    std::uint32_t hash(std::uint32_t value) const { return hashes_->of(value); }
    bool is_object(std::uint32_t value) const { return value != kNone && tree_.first_byte(value) == '{'; }

private:
    TokenTree tree_;
    std::optional<ValueHashes> hashes_;
};

/// The change that one copy has made to a member; no value: removed.
struct Change {
    std::size_t copy = 0;
    std::uint32_t value = kNone;
};

/// A value that copies have changed differently.
struct Contest {
    std::uint32_t before = kNone;
    std::vector<Change> changes = {};
};

class ObjectMerge {
public:
    explicit ObjectMerge(const MemberConflict& conflict)
        : conflict_(conflict), key_(in_quotes(conflict.member)), before_(text_or(conflict.before, "{}")) {
        for (const auto& candidate : conflict.candidates) copies_.emplace_back(text_or(candidate, "null"));
    }

    Result<std::optional<std::string>> merge() {
        const auto is_readable = [](MergedText& text) { return text.read(); };
        if (!is_readable(before_) || !std::ranges::all_of(copies_, is_readable)) {
            return fail(ErrorCode::kInternal, fmt::format("the objects {} cannot be read", key_));
        }
        Contest whole{.before = 0};
        for (std::size_t copy = 0; copy < copies_.size(); ++copy) whole.changes.push_back({copy, 0});
        if (Status opened = open(key_, whole); !opened) return std::unexpected(std::move(opened.error()));
        while (!to_write_.empty()) {
            if (conflict_.stop.stop_requested()) return fail(ErrorCode::kUnavailable, "it was asked to stop");
            const Piece piece = std::move(to_write_.back());
            to_write_.pop_back();
            if (Status written = write(piece); !written) return std::unexpected(std::move(written.error()));
        }
        return std::move(text_);
    }

private:
    /// A member, or the end of an object. The remaining pieces are a stack, the next one last.
    struct Piece {
        std::string_view key = {};    ///< Empty: the object ends.
        std::string_view value = {};  ///< Set unless the member is contested.
        Contest contest = {};
    };

    struct Member {
        std::string_view key;
        std::uint32_t before = kNone;
        std::vector<Change> changes = {};
        std::size_t last_seen = 0;    ///< The last change, counted from 1, whose copy has the member;
        std::uint32_t value = kNone;  ///< and its value there.
    };

    static std::string_view text_or(const std::optional<std::string>& text, std::string_view otherwise) {
        return text ? std::string_view(*text) : otherwise;
    }

    Status write(const Piece& piece) {
        if (piece.key.empty()) {
            text_ += '}';
            path_.pop_back();
            return {};
        }
        if (text_.back() != '{') text_ += ',';
        text_ += piece.key;
        text_ += ':';
        text_ += piece.value;
        return piece.value.empty() ? open(piece.key, piece.contest) : Status();
    }

    Status open(std::string_view key, const Contest& contest) {
        path_.push_back({.into_object = true, .has_key = true, .key = key.substr(1, key.size() - 2)});
        const auto is_object = [&](const Change& change) { return copies_[change.copy].is_object(change.value); };
        if ((contest.before != kNone && !before_.is_object(contest.before)) ||
            !std::ranges::all_of(contest.changes, is_object)) {
            return refuse(contest.changes);
        }
        text_ += '{';
        to_write_.push_back({});
        const auto pieces_before = static_cast<std::ptrdiff_t>(to_write_.size());
        for (Member& member : members_of(contest)) list(member);
        std::ranges::reverse(to_write_.begin() + pieces_before, to_write_.end());
        return {};
    }

    /// The old members, then new ones copy by copy; of duplicate keys the last counts.
    std::vector<Member> members_of(const Contest& contest) {
        std::vector<Member> members;
        KeyNumbers keys;
        const auto member_of_key = [&](std::string_view key) -> Member& {
            const std::size_t number = keys.add(key);
            if (number == members.size()) members.push_back({.key = key});
            return members[number];
        };
        listed_.clear();
        if (contest.before != kNone) before_.tree().list_members(contest.before, listed_);
        for (const TokenMember& listed : listed_) member_of_key(listed.key).before = listed.value;
        for (std::size_t i = 0; i < contest.changes.size(); ++i) {
            const Change& copy = contest.changes[i];
            copies_[copy.copy].tree().list_members(copy.value, listed_);
            for (const TokenMember& listed : listed_) {
                Member& member = member_of_key(listed.key);
                member.value = listed.value;
                member.last_seen = i + 1;
            }
            for (Member& member : members)
                note_change(member, {copy.copy, member.last_seen == i + 1 ? member.value : kNone});
        }
        return members;
    }

    void note_change(Member& member, Change change) const {
        const bool is_changed = member.before == kNone || change.value == kNone
                                    ? member.before != change.value
                                    : !is_same(before_, member.before, copies_[change.copy], change.value);
        if (is_changed) member.changes.push_back(change);
    }

    void list(Member& member) {
        if (is_contested(member.changes)) {
            to_write_.push_back({.key = member.key, .contest = {member.before, std::move(member.changes)}});
        } else if (member.changes.empty()) {
            to_write_.push_back({.key = member.key, .value = before_.tree().value(member.before)});
        } else if (const Change& change = member.changes[0]; change.value != kNone) {
            to_write_.push_back({.key = member.key, .value = copies_[change.copy].tree().value(change.value)});
        }
    }

    /// Compares all hashes before any bytes: a contested value is compared again further down.
    bool is_contested(const std::vector<Change>& changes) const {
        const auto differs_from_first = [&](const auto& is_equal) {
            return std::ranges::any_of(changes, [&](const Change& change) {
                const Change& first = changes[0];
                if (change.value == kNone || first.value == kNone) return change.value != first.value;
                return !is_equal(copies_[first.copy], first.value, copies_[change.copy], change.value);
            });
        };
        return differs_from_first(has_same_hash) || differs_from_first(is_same);
    }

    static bool has_same_hash(const MergedText& left, std::uint32_t left_value, const MergedText& right,
                              std::uint32_t right_value) {
        return left.hash(left_value) == right.hash(right_value);
    }

    static bool is_same(const MergedText& left, std::uint32_t left_value, const MergedText& right,
                        std::uint32_t right_value) {
        return has_same_hash(left, left_value, right, right_value) &&
               json_equal(left.tree(), left_value, right.tree(), right_value);
    }

    Status refuse(const std::vector<Change>& changes) const {
        std::vector<std::string> names;
        names.reserve(changes.size());
        for (const Change& change : changes) names.push_back(conflict_.steps[change.copy]);
        return fail(ErrorCode::kConflict,
                    fmt::format("at {} steps {} have changed, each in its own way, what is not an object in all of "
                                "them: the merger \"merge\" merges objects only",
                                json_path(path_), quoted_list(names)));
    }

    const MemberConflict& conflict_;
    const std::string key_;  ///< Only for messages.
    MergedText before_;
    std::deque<MergedText> copies_;
    std::string text_;
    std::vector<Piece> to_write_;
    std::vector<JsonPathStep> path_;
    std::vector<TokenMember> listed_;
};

}  // namespace

Result<std::optional<std::string>> merge_objects(const MemberConflict& conflict) {
    return ObjectMerge(conflict).merge();
}

}  // namespace cairn
