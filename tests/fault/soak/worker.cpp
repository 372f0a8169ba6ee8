// A process of the soak. soak_test starts it: `soak_worker saver|operator|reader URL LEDGER PROCESS SEED`.

#include "fault/soak/roles.h"

#include <csignal>
#include <cstdlib>
#include <string>
#include <string_view>

#include <sys/prctl.h>

int main(int argc, char** argv) {
    using namespace cairn::test;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (argc != 6) return 2;
    const std::string_view role = argv[1];
    const auto process = static_cast<std::int32_t>(std::strtol(argv[4], nullptr, 10));
    Ledger ledger(argv[3], process);
    Workplace place{.ledger = ledger, .url = argv[2], .process = process, .seed = std::strtoull(argv[5], nullptr, 10)};
    const char* const rate = std::getenv("IO_FAULTS_RATE");
    ledger.begin(0, "start", {{"role", argv[1]}, {"seed", argv[5]}, {"io_faults_rate", rate == nullptr ? "0" : rate}});
    ledger.end(0, {});
    if (role == "saver") save_for_ever(place);
    if (role == "operator") operate_for_ever(place);
    if (role == "reader") read_for_ever(place);
    return 2;
}
