#pragma once

// The saves of a run are prepared one on top of the other, before the first of them is committed. Sometimes a save ends
// in another way than it was prepared for: it leaves the queue at its deadline, or goes on top of another writer's
// head. The saves behind it are then put on the head that is there: under other versions, and written whole where the
// snapshot that they were encoded against is not there.

#include "persistence/save/pending_save.h"

#include <cairn/error.h>

namespace cairn {

/// Puts `save` on the head that the save before it has left. Called by the thread that commits it, in the order of the
/// run, and again whenever a save before it has ended in another way than expected. Errors: kInternal (memory); the
/// save may be committed all the same, since the store refuses a write that does not fit.
[[nodiscard]] Status put_on_what_is_there(PendingSave& save);

/// Notes the place where a save has ended that was committed or tried.
void note_landing(const PendingSave& save) noexcept;

/// Notes that a save has ended at its deadline, before its commit began. The head behind it is the one that it was
/// prepared on, unless the save may have been applied.
void note_dropped(const PendingSave& save) noexcept;

/// Notes the same of a save that leaves the queue, with `behind` next in its run.
void hand_over(PendingSave& left, PendingSave& behind) noexcept;

}  // namespace cairn
