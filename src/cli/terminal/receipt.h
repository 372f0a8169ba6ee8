#pragma once

#include <cairn/persistence.h>

namespace cairn::cli {

/// Prints the effect of a save: "persisted 0190… (version 3, sync)", or an object.
void print_receipt(const Receipt& receipt, bool json);

}  // namespace cairn::cli
