// Goal: the memory store, the reference, does what cairn/store.h says. Method: the conformance suite.

#include "conformance/store_conformance.h"
#include "store/memory/memory_store.h"

namespace cairn::test {
namespace {

StoreFactory memory_factory() {
    return {.name = "memory", .is_durable = false, .make_place = [] { return Place(make_memory_store); }};
}

INSTANTIATE_TEST_SUITE_P(Memory, StoreConformance, testing::Values(memory_factory()));

}  // namespace
}  // namespace cairn::test
