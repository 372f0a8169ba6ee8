#include "pipeline/merge/three_way_merge.h"

#include "state/state_equality.h"
#include "state/state_members.h"

#include <algorithm>

namespace cairn {
namespace {

using Candidate = ContestedMember::Candidate;

std::unexpected<Error> stopped_merge_error() {
    return fail(ErrorCode::kUnavailable, "the merge of the steps' states was asked to stop");
}

class CopiesMerge {
public:
    explicit CopiesMerge(std::string_view before) {
        MemberReader reader(before);
        while (const auto key = reader.next_key()) member_of_key(*key).before = reader.take_value();
    }

    void add_copy(std::string_view copy) {
        ++copies_;
        bytes_max_ = std::max(bytes_max_, copy.size());
        MemberReader reader(copy);
        while (const auto key = reader.next_key()) {
            Member& member = member_of_key(*key);
            member.value = reader.take_value(member.before.value_or(""));
            member.copy_seen = copies_;
        }
        for (Member& member : members_) note_change(member);
    }

    Result<std::string> write(const DecideMember& decide, const std::stop_token& stop) const {
        std::string text = "{";
        text.reserve(bytes_max_);
        for (const Member& member : members_) {
            if (stop.stop_requested()) return stopped_merge_error();
            if (!is_contested(member)) {
                write_member(member.key, member.changes.empty() ? member.before : member.changes[0].value, text);
                continue;
            }
            const auto decided = decide({member.key, member.before, member.changes});
            if (!decided) return std::unexpected(decided.error());
            write_member(member.key, *decided, text);
        }
        text += '}';
        return text;
    }

private:
    struct Member {
        std::string_view key;
        std::optional<std::string_view> before = {};
        std::vector<Candidate> changes = {};
        std::size_t copy_seen = 0;    ///< The last copy, counted from 1, that has the member;
        std::string_view value = {};  ///< and its value there.
    };

    Member& member_of_key(std::string_view key) {
        const std::size_t number = keys_.add(key);
        if (number == members_.size()) members_.push_back({.key = key});
        return members_[number];
    }

    void note_change(Member& member) const {
        const std::size_t copy = copies_ - 1;
        if (member.copy_seen != copies_) {
            if (member.before) member.changes.push_back({copy});
        } else if (!member.before || !is_same(*member.before, member.value)) {
            member.changes.push_back({copy, member.value});
        }
    }

    /// Most members are the same bytes, and memcmp is the fastest way to see that.
    static bool is_same(std::string_view left, std::string_view right) {
        return left == right || json_equal(left, right);
    }

    static bool is_contested(const Member& member) {
        return std::ranges::any_of(member.changes, [&](const Candidate& change) {
            const Candidate& first = member.changes[0];
            if (!change.value || !first.value) return change.value != first.value;
            return !json_equal(*change.value, *first.value);
        });
    }

    static void write_member(std::string_view key, std::optional<std::string_view> value, std::string& text) {
        if (!value) return;
        if (text.size() > 1) text += ',';
        text += key;
        text += ':';
        text += *value;
    }

    KeyNumbers keys_;
    std::vector<Member> members_;
    std::size_t copies_ = 0;
    std::size_t bytes_max_ = 0;  ///< The largest copy: about the size of the result.
};

}  // namespace

Result<std::string> merge_copies(std::string_view before, std::span<const std::string_view> copies,
                                 const DecideMember& decide, const std::stop_token& stop) {
    CopiesMerge merge(before);
    for (const std::string_view copy : copies) {
        if (stop.stop_requested()) return stopped_merge_error();
        merge.add_copy(copy);
    }
    return merge.write(decide, stop);
}

}  // namespace cairn
