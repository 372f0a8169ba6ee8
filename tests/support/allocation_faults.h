#pragma once

// Makes allocations of `operator new` and of the SQLite engine fail, in a program that links allocation_faults.cpp.

namespace cairn::test {

// ThreadSanitizer has its own `operator new`, and no other can be linked beside it.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CAIRN_TEST_NEW_CAN_FAIL 0
#endif
#endif
#ifndef CAIRN_TEST_NEW_CAN_FAIL
#define CAIRN_TEST_NEW_CAN_FAIL 1
#endif

/// Fails the n-th allocation while it is armed.
class AllocationFaults {
public:
    static constexpr bool kNewCanFail = CAIRN_TEST_NEW_CAN_FAIL;  ///< If false, only `kEngine` works.

    enum class Where {
        kNew,                ///< On a thread while it has a `Counting`. The test's own allocations never fail.
        kNewOnOtherThreads,  ///< On all threads except the one that arms the fault.
        kEngine
    };
    struct Fault {
        Where where = Where::kNew;
        int nth = 1;
        bool for_good = false;  ///< All later allocations fail too.
    };

    static void arm(const Fault& fault);
    static void disarm();
    static bool struck();

    /// Counts this thread's allocations while it lives. Put it around the calls under test.
    class Counting {
    public:
        Counting();
        ~Counting();
        Counting(const Counting&) = delete;
        Counting& operator=(const Counting&) = delete;
    };

    /// Gives the engine the allocator that can fail. Call it once per program, before anything is opened.
    static void install_in_engine();
};

}  // namespace cairn::test
