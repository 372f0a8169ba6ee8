#include "persistence/reading/chain_survey.h"

#include "frame/frame.h"
#include "frame/text_chain.h"
#include "state/normal_text.h"
#include "store/batch_rules.h"

#include <fmt/format.h>

namespace cairn {

void ChainSurvey::add(const SnapshotInfo& info) {
    Known known;
    if (info.base_version != 0) {
        const auto base = known_.find(info.base_version);
        if (base == known_.end()) {
            known.missing = info.base_version;
        } else {
            known.frames = base->second.frames + 1;
            known.missing = base->second.missing;
        }
    }
    known_[info.version] = known;
}

void ChainSurvey::note(std::int64_t version, const std::string& text) {
    if (!check_stored_text(text)) return;
    Known& known = known_[version];
    known.bytes = text.size();
    known.checksum = Checksum::of(text);
}

void ChainSurvey::learn(const Snapshot& snapshot, bool is_damaged) {
    if (snapshot.bases.empty()) return;
    const Result<std::string> front = decode_full_frame(snapshot.bases.front().frame, limits_.bytes_max);
    if (!front) return;
    note(snapshot.bases.front().version, *front);
    TextChain chain(*front);
    std::int64_t damaged = 0;
    for (std::size_t i = 1; i < snapshot.bases.size(); ++i) {
        const BaseFrame& base = snapshot.bases[i];
        if (damaged == 0 && !chain.apply(base.frame, limits_.bytes_max)) {
            if (!is_damaged) return;
            damaged = base.version;
        } else if (damaged != 0) {
            known_[base.version].damaged = damaged;
        } else if (const Result<std::string> text = chain.unverified_text()) {
            note(base.version, *text);
        }
    }
}

bool ChainSurvey::is_proven(const SnapshotInfo& info) const {
    const auto known = known_.find(info.version);
    return known != known_.end() && info.damage.empty() && known->second.bytes != 0 &&
           known->second.bytes == info.state_bytes && known->second.checksum == info.checksum;
}

std::optional<std::string> ChainSurvey::problem(const SnapshotInfo& info) const {
    const auto found = known_.find(info.version);
    if (found == known_.end() || info.base_version == 0) return std::nullopt;
    const Known& known = found->second;
    if (known.frames > kChainFramesUpper) return chain_is_too_long(info).error().message;
    const auto because = [&](std::int64_t version, std::string_view what) {
        return fmt::format("snapshot {} (version {}): version {}, which it needs, {}", info.snapshot_id, info.version,
                           version, what);
    };
    if (known.missing != 0) return because(known.missing, "is missing");
    if (known.damaged != 0) return because(known.damaged, "is damaged");
    return std::nullopt;
}

}  // namespace cairn
