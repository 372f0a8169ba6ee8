#pragma once

#include <cairn/store.h>

#include <memory>

namespace cairn {

/// A store in memory that ends with its last owner, for tests and for trying things out. It is also the reference for
/// the behaviour of a store: it is one map under one lock, and computes every answer in the plainest way.
/// With `read_only` it stays empty; `create` has no effect.
std::shared_ptr<Store> make_memory_store(const OpenOptions& options = {});

}  // namespace cairn
