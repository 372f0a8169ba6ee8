#include "support/paths.h"

namespace cairn::test {

std::filesystem::path source_dir() {
    return CAIRN_SOURCE_DIR;
}

std::string cairn_program() {
    return CAIRN_PROGRAM;
}

}  // namespace cairn::test
