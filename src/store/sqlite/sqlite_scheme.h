#pragma once

#include <cairn/store.h>

namespace cairn {

/// `sqlite:PATH`, for the scheme table.
StoreScheme sqlite_scheme();

}  // namespace cairn
