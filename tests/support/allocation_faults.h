#pragma once

// Memory that runs out, for the program that links allocation_faults.cpp: of `operator new`, and of the SQLite engine.

namespace cairn::test {

/// Fails the n-th allocation while it is armed.
class AllocationFaults {
public:
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
