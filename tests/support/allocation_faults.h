#pragma once

// Memory that runs out, for the program that links allocation_faults.cpp: of `operator new`, and of the SQLite engine.

namespace cairn::test {

// ThreadSanitizer brings an `operator new` of its own, beside which no other can be linked.
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
    static constexpr bool kNewCanFail = CAIRN_TEST_NEW_CAN_FAIL;  ///< Otherwise there is only `kEngine`.

    enum class Where {
        kNew,                ///< On a thread while it has a `Counting`: what the test itself allocates never fails.
        kNewOnOtherThreads,  ///< On all threads but the one that arms it.
        kEngine
    };
    struct Fault {
        Where where = Where::kNew;
        int nth = 1;
        bool for_good = false;  ///< All that follow too.
    };

    static void arm(const Fault& fault);
    static void disarm();
    static bool struck();

    /// Around the calls under test.
    class Counting {
    public:
        Counting();
        ~Counting();
        Counting(const Counting&) = delete;
        Counting& operator=(const Counting&) = delete;
    };

    /// Gives the engine its failing allocator. Before anything is opened; once a program.
    static void install_in_engine();
};

}  // namespace cairn::test
