#include "persistence/reading/run_examination.h"

#include "base/default_deadline.h"
#include "frame/frame.h"
#include "frame/text_chain.h"
#include "persistence/reading/snapshot_reader.h"
#include "persistence/reading/snapshot_walk.h"
#include "store/batch_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace cairn {
namespace {

constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();

// The most that is read at a time.
constexpr std::size_t kFramesMax = 64;
constexpr std::uint64_t kFrameBytesMax = 8U << 20;

}  // namespace

/// The result of decoding a frame. A text that does not match the snapshot's record is kept as well: other snapshots
/// may need it.
struct RunExamination::Decoded {
    std::optional<std::string> text;
    Status is_sound;
};

/// The texts that other snapshots still need.
class RunExamination::Texts {
public:
    const std::string* find(std::size_t place) const {
        const auto found = held_.find(place);
        return found == held_.end() ? nullptr : &found->second.text;
    }
    void keep(std::size_t place, std::string text, std::size_t users) { held_[place] = {std::move(text), users}; }
    void used(std::size_t place) {
        const auto found = held_.find(place);
        if (found != held_.end() && --found->second.users == 0) held_.erase(found);
    }

private:
    struct Held {
        std::string text;
        std::size_t users = 0;
    };
    std::unordered_map<std::size_t, Held> held_;
};

// ---- the records ----

Status RunExamination::read_records() {
    const auto note = [&](const SnapshotInfo& info) {
        add(info);
        return Status{};
    };
    if (Status visited = visit_snapshots(store_, run_id_, note, deadline_); !visited) return visited;
    for (std::size_t place = records_.size(); place-- > 0;) {
        const Record& record = records_[place];
        if (record.base != place) records_[record.base].dependants += 1 + record.dependants;
    }
    return {};
}

void RunExamination::add(const SnapshotInfo& info) {
    const std::size_t place = records_.size();
    Record record{.version = info.version,
                  .base_version = info.base_version,
                  .base = place,
                  .first_dependant = kNone,
                  .next_sibling = kNone,
                  .frame_bytes = info.frame_bytes,
                  .checksum = info.checksum,
                  .state_bytes = info.state_bytes,
                  .state_type = &*state_types_.insert(info.state_type).first};
    if (const auto base = info.base_version == 0 ? std::nullopt : find(info.base_version)) {
        record.base = *base;
        record.frames = records_[*base].frames + 1;
        record.next_sibling = std::exchange(records_[*base].first_dependant, place);
    }
    records_.push_back(record);
}

std::optional<std::size_t> RunExamination::find(std::int64_t version) const {
    const auto found = std::ranges::lower_bound(records_, version, {}, &Record::version);
    if (found == records_.end() || found->version != version) return std::nullopt;
    return static_cast<std::size_t>(found - records_.begin());
}

std::size_t RunExamination::front_of(std::size_t place) const {
    while (records_[place].base != place) place = records_[place].base;
    return place;
}

// Puts each snapshot after its base. A text is held until the last of those that need it is decoded. That is the one
// with the most dependants, so each of the others has less than half of them: the number of held texts is logarithmic.
std::vector<std::size_t> RunExamination::order_from(std::size_t front) const {
    std::vector<std::size_t> order;
    std::vector<std::size_t> open{front};
    while (!open.empty()) {
        const std::size_t place = open.back();
        open.pop_back();
        order.push_back(place);
        const auto first = static_cast<std::ptrdiff_t>(open.size());
        for (std::size_t next = records_[place].first_dependant; next != kNone; next = records_[next].next_sibling) {
            open.push_back(next);
        }
        const auto dependants = [&](std::size_t each) { return std::pair(records_[each].dependants, each); };
        std::ranges::sort(open.begin() + first, open.end(), std::ranges::greater(), dependants);
    }
    return order;
}

// ---- the frames ----

Status RunExamination::examine_all() {
    for (std::size_t place = 0; place < records_.size(); ++place) {
        if (records_[place].base != place) continue;
        if (Status status = examine_tree(place); !status) return status;
    }
    return {};
}

Status RunExamination::examine(std::int64_t version) {
    const auto place = find(version);
    return place ? examine_tree(front_of(*place)) : Status{};
}

Status RunExamination::examine_tree(std::size_t front) {
    if (std::exchange(records_[front].is_examined, true)) return {};
    const std::vector<std::size_t> order = order_from(front);
    Texts texts;
    for (std::span<const std::size_t> rest = order; !rest.empty();) {
        if (is_known_to_fail(rest.front())) {
            texts.used(records_[rest.front()].base);
            rest = rest.subspan(1);
            continue;
        }
        const std::size_t count = count_for_one_read(rest);
        if (Status status = examine_some(rest.first(count), texts); !status) return status;
        rest = rest.subspan(count);
    }
    return {};
}

std::size_t RunExamination::count_for_one_read(std::span<const std::size_t> places) const {
    std::size_t count = 1;
    std::uint64_t bytes = records_[places.front()].frame_bytes;
    while (count < std::min(places.size(), kFramesMax)) {
        bytes += records_[places[count]].frame_bytes;
        if (bytes > kFrameBytesMax) break;
        ++count;
    }
    return count;
}

Status RunExamination::examine_some(std::span<const std::size_t> places, Texts& texts) {
    std::vector<std::int64_t> versions;
    for (const std::size_t place : places) versions.push_back(records_[place].version);
    const Result<std::vector<BaseFrame>> frames = store_.frames(run_id_, versions, reading_deadline(deadline_));
    if (!frames && !is_damage(frames.error())) return std::unexpected(frames.error());
    auto next = frames ? frames->begin() : std::vector<BaseFrame>::const_iterator();
    for (const std::size_t place : places) {
        const bool is_there = frames && next != frames->end() && next->version == records_[place].version;
        const BaseFrame* frame = is_there ? &*next : nullptr;
        if (!is_known_to_fail(place)) {
            if (Status status = examine_one(place, frame, texts); !status) return status;
        }
        texts.used(records_[place].base);
        if (is_there) ++next;
    }
    return {};
}

// A record may have changed since it was read: a prune made the snapshot independent of a deleted one, or deleted it.
// Then the snapshot is loaded by itself.
Status RunExamination::examine_one(std::size_t place, const BaseFrame* frame, Texts& texts) {
    const Record& record = records_[place];
    const std::string* base = texts.find(record.base);
    const bool is_as_planned = frame != nullptr && frame->base_version == record.base_version;
    if (!is_as_planned || (record.base_version != 0 && base == nullptr)) return load_alone(place, texts);
    Decoded decoded = decode(record, frame->frame, base);
    if (!decoded.is_sound) return read_again(place, texts);
    keep(place, *std::move(decoded.text), texts);
    return {};
}

// Reads a snapshot that seems damaged a second time, afresh.
Status RunExamination::read_again(std::size_t place, Texts& texts) {
    const Record& record = records_[place];
    const Result<std::vector<BaseFrame>> frames =
        store_.frames(run_id_, {{record.version}}, reading_deadline(deadline_), Store::Reading::kAfresh);
    if (!frames && !is_damage(frames.error())) return std::unexpected(frames.error());
    const Result<std::optional<SnapshotInfo>> info = find_version(store_, run_id_, record.version, deadline_);
    if (!info) return std::unexpected(info.error());
    const bool is_as_planned = *info && (*info)->checksum == record.checksum && frames && frames->size() == 1 &&
                               frames->front().base_version == record.base_version;
    if (!is_as_planned) return load_alone(place, texts);
    Decoded decoded = decode(record, frames->front().frame, texts.find(record.base));
    if (!decoded.is_sound) {
        if (!is_unreadable(decoded.is_sound.error())) return decoded.is_sound;
        problems_[place] = {.error = unloadable_snapshot_error(**info, std::move(decoded.is_sound.error())),
                            .is_without_text = !decoded.text};
    }
    if (decoded.text) keep(place, *std::move(decoded.text), texts);
    return {};
}

Status RunExamination::load_alone(std::size_t place, Texts& texts) {
    const Result<std::optional<SnapshotInfo>> info = find_version(store_, run_id_, records_[place].version, deadline_);
    if (!info) return std::unexpected(info.error());
    if (!*info) return {};  // deleted since
    Result<ChainedState> loaded = load_snapshot(store_, {.run_id = run_id_, .snapshot_id = (*info)->snapshot_id},
                                                limits_, reading_deadline(deadline_));
    if (loaded) {
        keep(place, std::string(loaded->state.stored_text()), texts);
        return {};
    }
    if (loaded.error().code == ErrorCode::kNotFound) return {};
    if (!is_unreadable(loaded.error())) return std::unexpected(std::move(loaded.error()));
    problems_[place] = {.error = std::move(loaded.error()), .is_without_text = true};
    return {};
}

RunExamination::Decoded RunExamination::decode(const Record& record, const std::string& frame,
                                               const std::string* base) const {
    Decoded decoded;
    const auto take = [&](Result<std::string> text) {
        text ? void(decoded.text = *std::move(text)) : void(decoded.is_sound = std::unexpected(text.error()));
    };
    if (base == nullptr) {
        take(decode_full_frame(frame, limits_.bytes_max));
    } else {
        TextChain chain(*base);
        decoded.is_sound = chain.apply(frame, limits_.bytes_max);
        if (!decoded.is_sound) return decoded;
        take(chain.text(record.checksum));
        if (!decoded.text) {
            if (Result<std::string> other = chain.unverified_text()) decoded.text = *std::move(other);
        }
    }
    if (decoded.is_sound) {
        decoded.is_sound = check_described(
            frame, {.checksum = record.checksum, .state_bytes = record.state_bytes, .state_type = *record.state_type});
    }
    if (decoded.is_sound) decoded.is_sound = check_decoded(*decoded.text, *record.state_type, limits_);
    return decoded;
}

// Finds out without reading the snapshot.
bool RunExamination::is_known_to_fail(std::size_t place) {
    const Record& record = records_[place];
    if (record.frames > kChainFramesUpper) {
        const SnapshotInfo info{.run_id = run_id_, .version = record.version};
        problems_[place] = {.error = overlong_chain_error(info).error(), .is_without_text = true};
        return true;
    }
    const auto base = record.base == place ? problems_.end() : problems_.find(record.base);
    if (base == problems_.end() || !base->second.is_without_text) return false;
    const std::int64_t because = base->second.because != 0 ? base->second.because : records_[record.base].version;
    problems_[place] = {.error = {.code = base->second.error.code}, .because = because, .is_without_text = true};
    return true;
}

void RunExamination::keep(std::size_t place, std::string text, Texts& texts) {
    std::size_t users = 0;
    for (std::size_t next = records_[place].first_dependant; next != kNone; next = records_[next].next_sibling) ++users;
    if (users != 0) texts.keep(place, std::move(text), users);
}

std::optional<Error> RunExamination::problem(const SnapshotInfo& info) const {
    const auto place = find(info.version);
    if (!place) return std::nullopt;
    const auto found = problems_.find(*place);
    if (found == problems_.end()) return std::nullopt;
    const Problem& problem = found->second;
    if (problem.because == 0) return problem.error;
    const bool is_limit = problem.error.code == ErrorCode::kLimitExceeded;
    return unloadable_snapshot_error(info, {.code = problem.error.code,
                                            .message = fmt::format("version {}, which it needs, is {}", problem.because,
                                                                   is_limit ? "larger than the limit" : "damaged")});
}

}  // namespace cairn
