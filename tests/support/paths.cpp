#include "support/paths.h"

namespace cairn::test {

std::filesystem::path source_dir() {
    return CAIRN_SOURCE_DIR;
}

}  // namespace cairn::test
