#include "support/allocation_faults.h"

#include <sqlite3.h>

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace cairn::test {
namespace {

using Where = AllocationFaults::Where;

std::atomic<bool> armed = false;
std::atomic<Where> where = Where::kNew;
std::atomic<bool> for_good = false;
std::atomic<int> left = 0;  // allocations until the one that fails, itself included
thread_local int counting_here = 0;
thread_local bool has_armed = false;

sqlite3_mem_methods engine_memory;

// Says whether this allocation fails: the one at the end of the count, and, if the fault is for good, all after it.
bool is_due() {
    const int before = left.fetch_sub(1);
    return before == 1 || (before < 1 && for_good);
}

bool engine_fails() {
    return armed && where == Where::kEngine && is_due();
}

void* engine_allocate(int bytes) {
    return engine_fails() ? nullptr : engine_memory.xMalloc(bytes);
}

void* engine_reallocate(void* memory, int bytes) {
    return engine_fails() ? nullptr : engine_memory.xRealloc(memory, bytes);
}

#if CAIRN_TEST_NEW_CAN_FAIL
bool new_fails() {
    if (!armed || where == Where::kEngine) return false;
    const bool counts = where == Where::kNew ? counting_here != 0 : !has_armed;
    return counts && is_due();
}

void* allocate_or_null(std::size_t bytes) noexcept {
    return new_fails() ? nullptr : std::malloc(bytes == 0 ? 1 : bytes);
}

void* allocate(std::size_t bytes) {
    void* const memory = allocate_or_null(bytes);
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
}
#endif

}  // namespace

void AllocationFaults::arm(const Fault& fault) {
    where = fault.where;
    for_good = fault.for_good;
    left = fault.nth;
    has_armed = true;
    armed = true;
}

void AllocationFaults::disarm() {
    armed = false;
}

bool AllocationFaults::struck() {
    return left < 1;
}

AllocationFaults::Counting::Counting() {
    ++counting_here;
}

AllocationFaults::Counting::~Counting() {
    --counting_here;
}

void AllocationFaults::install_in_engine() {
    sqlite3_shutdown();
    sqlite3_config(SQLITE_CONFIG_GETMALLOC, &engine_memory);
    sqlite3_mem_methods failing = engine_memory;
    failing.xMalloc = engine_allocate;
    failing.xRealloc = engine_reallocate;
    sqlite3_config(SQLITE_CONFIG_MALLOC, &failing);
    sqlite3_initialize();
}

}  // namespace cairn::test

#if CAIRN_TEST_NEW_CAN_FAIL
void* operator new(std::size_t bytes) {
    return cairn::test::allocate(bytes);
}

void* operator new[](std::size_t bytes) {
    return cairn::test::allocate(bytes);
}

void* operator new(std::size_t bytes, const std::nothrow_t& /*tag*/) noexcept {
    return cairn::test::allocate_or_null(bytes);
}

void* operator new[](std::size_t bytes, const std::nothrow_t& /*tag*/) noexcept {
    return cairn::test::allocate_or_null(bytes);
}

void operator delete(void* memory) noexcept {
    std::free(memory);
}

void operator delete[](void* memory) noexcept {
    std::free(memory);
}

void operator delete(void* memory, const std::nothrow_t& /*tag*/) noexcept {
    std::free(memory);
}

void operator delete[](void* memory, const std::nothrow_t& /*tag*/) noexcept {
    std::free(memory);
}

void operator delete(void* memory, std::size_t /*bytes*/) noexcept {
    std::free(memory);
}

void operator delete[](void* memory, std::size_t /*bytes*/) noexcept {
    std::free(memory);
}
#endif
