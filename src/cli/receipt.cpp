#include "cli/receipt.h"

#include "cli/output.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace cairn::cli {

void print_receipt(const Receipt& receipt, bool json) {
    if (json) {
        print_line(to_line({{"snapshot_id", receipt.snapshot_id},
                            {"outcome", to_string(receipt.outcome)},
                            {"durability", to_string(receipt.durability)},
                            {"version", receipt.version}}));
    } else {
        print_line(fmt::format("{} {} (version {}, {})", to_string(receipt.outcome), receipt.snapshot_id,
                               receipt.version, to_string(receipt.durability)));
    }
}

}  // namespace cairn::cli
