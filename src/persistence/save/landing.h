#pragma once

// The saves of a run are prepared one on top of the other, before the first of them is committed. One that ends
// otherwise than it was prepared (it leaves the queue at its deadline, or goes on top of another writer's head) has
// those behind it put on what there is then: under other versions, and written whole where what they were encoded
// against is not there.

#include "persistence/save/pending_save.h"

#include <cairn/error.h>

namespace cairn {

/// Puts `save` on what was left by the one that it was prepared on. For whoever commits it, in the order of the run,
/// as often as those before it end otherwise than they were expected to. Errors: kInternal (memory); it may be
/// committed all the same, since the store refuses what does not fit.
[[nodiscard]] Status put_on_what_is_there(PendingSave& save);

/// Notes where a save has ended that was committed or tried.
void note_landing(const PendingSave& save) noexcept;

/// Notes that a save ends at its deadline, before it was begun: what it was prepared on is what there is behind it,
/// unless the save may have been applied.
void note_dropped(const PendingSave& save) noexcept;

/// So, of a save that leaves the queue, with `behind` next in its run.
void hand_over(PendingSave& left, PendingSave& behind) noexcept;

}  // namespace cairn
