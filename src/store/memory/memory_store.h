#pragma once

#include <cairn/store.h>

#include <memory>

namespace cairn {

/// A store in memory, gone with its last owner: for tests and for trying things out. It is also the reference for what
/// a store does: one map under one lock, every answer computed in the plainest way.
/// With `read_only` it is empty for ever; `create` means nothing here.
std::shared_ptr<Store> make_memory_store(const OpenOptions& options = {});

}  // namespace cairn
