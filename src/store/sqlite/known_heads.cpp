#include "store/sqlite/known_heads.h"

namespace cairn::sqlite {
namespace {

constexpr std::size_t kRunsMax = 1024;

}  // namespace

const KnownHeads::Answer* KnownHeads::find(const IndexHeader& header, std::string_view run_id) const {
    if (header != header_) return nullptr;
    const auto found = heads_.find(run_id);
    return found != heads_.end() ? &found->second : nullptr;
}

void KnownHeads::remember(const IndexHeader& header, std::string_view run_id, const Answer& head) {
    if (header != header_ || heads_.size() >= kRunsMax) heads_.clear();
    header_ = header;
    heads_.try_emplace(std::string(run_id), head);
}

}  // namespace cairn::sqlite
