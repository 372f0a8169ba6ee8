#include "support/built_program.h"

namespace cairn::test {

std::string cairn_program() {
    return CAIRN_PROGRAM;
}

ProgramResult run_cairn(const std::vector<std::string>& arguments, const ProgramOptions& options) {
    return run_program(cairn_program(), arguments, options);
}

}  // namespace cairn::test
