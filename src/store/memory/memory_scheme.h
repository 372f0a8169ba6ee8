#pragma once

#include <cairn/store.h>

namespace cairn {

/// `memory:`, for the scheme table.
StoreScheme memory_scheme();

}  // namespace cairn
