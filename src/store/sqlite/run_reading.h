#pragma once

// The result of reading a batch's run: the facts that decide whether the batch may be applied, and the places of its
// rows.

#include "store/batch_rules.h"

#include <cairn/store.h>

#include <cstdint>
#include <map>

namespace cairn::sqlite {

struct RunReading {
    RunFacts facts = {};
    std::int64_t run_key = 0;  ///< 0: the run does not exist.
    std::int64_t head_sequence = 0;
    Timestamp created_at = {};
    std::map<std::int64_t, std::int64_t> sequences = {};  ///< By version, for the snapshots to rewrite or delete.

    /// Records a written snapshot, since later members of the batch may concern it.
    void note_written(std::int64_t version, std::int64_t sequence) {
        head_sequence = sequence;
        sequences[version] = sequence;
    }
};

}  // namespace cairn::sqlite
