#pragma once

#include <cairn/persistence.h>

namespace cairn::cli {

/// What a save did: "persisted 0190… (version 3, sync)", or an object.
void print_receipt(const Receipt& receipt, bool json);

}  // namespace cairn::cli
