#include "cli/terminal/receipt.h"

#include "cli/terminal/output.h"
#include "wire/record_json.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace cairn::cli {

void print_receipt(const Receipt& receipt, bool json) {
    if (json) {
        print_line(to_line(receipt_object(receipt)));
    } else {
        print_line(fmt::format("{} {} (version {}, {})", to_string(receipt.outcome), receipt.snapshot_id,
                               receipt.version, to_string(receipt.durability)));
    }
}

}  // namespace cairn::cli
