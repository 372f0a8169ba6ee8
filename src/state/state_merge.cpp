#include "state/state_merge.h"

#include "state/opaque_text.h"
#include "state/state_members.h"
#include "state/token_tree.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <new>
#include <string>
#include <utility>
#include <vector>

namespace cairn {
namespace {

constexpr std::uint32_t kNone = 0xFFFF'FFFF;

/// The change of one key by the patch: the patch's member, and the first token of the base's value, if any.
struct Change {
    TokenMember patch;
    std::uint32_t base = kNone;
};

/// The changes of one object, by key; of duplicates the last counts.
class Changes {
public:
    explicit Changes(const std::vector<TokenMember>& members) {
        for (const TokenMember& member : members) {
            const std::size_t number = keys_.add(member.key);
            if (number == all_.size()) all_.emplace_back();
            all_[number].patch = member;
        }
    }

    Change* find(std::string_view key) {
        const auto number = keys_.find(key);
        return number ? &all_[*number] : nullptr;
    }

    const std::vector<Change>& all() const { return all_; }

private:
    KeyNumbers keys_;
    std::vector<Change> all_;
};

/// Writes the patched text front to back, without recursion: `to_write_` holds the remaining pieces, the next one last.
class PatchWriter {
public:
    PatchWriter(const TokenTree& base, const TokenTree& patch, const std::stop_token& stop)
        : base_(base), patch_(patch), stop_(stop) {}

    Result<std::string> write(std::size_t bytes_expected) {
        text_.reserve(bytes_expected);
        open_object(0, 0);
        while (!to_write_.empty()) {
            if (stop_.stop_requested()) return fail(ErrorCode::kUnavailable, "the merge patch was asked to stop");
            const Piece piece = to_write_.back();
            to_write_.pop_back();
            write_piece(piece);
        }
        return std::move(text_);
    }

private:
    /// A member, or the end of an object.
    struct Piece {
        std::string_view key = {};    ///< Empty: the object ends.
        std::string_view value = {};  ///< Used unless there is a patch:
        std::uint32_t base = kNone;   ///< the object that the patch is applied to, if there is one,
        std::uint32_t patch = kNone;  ///< and the patch, an object.
    };

    void write_piece(const Piece& piece) {
        if (piece.key.empty()) {
            text_ += '}';
            return;
        }
        if (text_.back() != '{') text_ += ',';
        text_ += piece.key;
        text_ += ':';
        if (piece.patch == kNone) {
            text_ += piece.value;
        } else {
            open_object(piece.base, piece.patch);
        }
    }

    void open_object(std::uint32_t base, std::uint32_t patch) {
        text_ += '{';
        to_write_.push_back({});
        const auto members_before = static_cast<std::ptrdiff_t>(to_write_.size());
        list_members(base, patch);
        std::ranges::reverse(to_write_.begin() + members_before, to_write_.end());
    }

    void list_members(std::uint32_t base, std::uint32_t patch) {
        base_members_.clear();
        if (base != kNone) base_.list_members(base, base_members_);
        patch_.list_members(patch, patch_members_);
        Changes changes(patch_members_);
        for (const TokenMember& member : base_members_) {
            if (Change* change = changes.find(member.key)) change->base = member.value;
        }
        for (const TokenMember& member : base_members_) {
            const Change* change = changes.find(member.key);
            if (change == nullptr) to_write_.push_back({member.key, base_.value(member.value)});
            if (change != nullptr && change->base == member.value) list_change(member.key, *change);
        }
        for (const Change& change : changes.all()) {
            if (change.base == kNone) list_change(change.patch.key, change);
        }
    }

    void list_change(std::string_view key, const Change& change) {
        switch (patch_.first_byte(change.patch.value)) {
            case 'n':
                return;
            case '{': {
                const bool has_target = change.base != kNone && base_.first_byte(change.base) == '{';
                to_write_.push_back({key, {}, has_target ? change.base : kNone, change.patch.value});
                return;
            }
            default:
                to_write_.push_back({key, patch_.value(change.patch.value)});
        }
    }

    const TokenTree& base_;
    const TokenTree& patch_;
    const std::stop_token& stop_;
    std::string text_;
    std::vector<Piece> to_write_;
    std::vector<TokenMember> base_members_;
    std::vector<TokenMember> patch_members_;
};

Result<std::string> merged_text(std::string_view base_text, std::string_view patch_text,
                                const std::stop_token& stop) try {
    TokenTree base(base_text);
    TokenTree patch(patch_text);
    if (base.build() && patch.build() && base.first_byte(0) == '{' && patch.first_byte(0) == '{') {
        return PatchWriter(base, patch, stop).write(base_text.size() + patch_text.size());
    }
    return fail(ErrorCode::kInternal, "a state that is to be patched, or the patch, cannot be read");
} catch (const std::bad_alloc&) {
    return fail(ErrorCode::kInternal, fmt::format("out of memory for a patch of {} bytes to a state of {}",
                                                  patch_text.size(), base_text.size()));
}

}  // namespace

Result<State> merge_patch(const State& base, const State& patch, const StateLimits& limits,
                          const std::stop_token& stop) {
    if (Status status = check_is_json(base, "the state to patch"); !status) return std::unexpected(status.error());
    if (Status status = check_is_json(patch, "the patch"); !status) return std::unexpected(status.error());
    Result<std::string> text = merged_text(base.text(), patch.text(), stop);
    if (!text) return std::unexpected(std::move(text.error()));
    return State::parse(std::move(*text), limits);
}

}  // namespace cairn
