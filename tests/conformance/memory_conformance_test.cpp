// Goal: the memory store, the reference, does what cairn/store.h says, also behind the wrappers that pass every call
// on. Method: the conformance suite.

#include <cairn/faulty_store.h>
#include "conformance/store_conformance.h"
#include "store/memory/memory_store.h"

namespace cairn::test {
namespace {

Place open_memory() {
    return make_memory_store;
}

Place open_forwarding() {
    return [](const OpenOptions& options) { return std::make_shared<ForwardingStore>(make_memory_store(options)); };
}

Place open_without_faults() {
    return [](const OpenOptions& options) { return std::make_shared<FaultyStore>(make_memory_store(options)); };
}

INSTANTIATE_TEST_SUITE_P(Memory, StoreConformance,
                         testing::Values(StoreFactory{"memory", false, open_memory},
                                         StoreFactory{"forwarding", false, open_forwarding},
                                         StoreFactory{"faulty_without_faults", false, open_without_faults}));

}  // namespace
}  // namespace cairn::test
