// A thread of its own: tasks of one test share few threads with all other tests, and what races must
// really run at the same time.

import Glibc
import Synchronization

/// Work that goes on beside a test.
final class OtherThread: Sendable {
    private let work: @Sendable (OtherThread) -> Void
    private let began = Atomic<Bool>(false)
    private let over = Atomic<Bool>(false)

    /// Whether the test has done its part.
    var isOver: Bool { over.load(ordering: .relaxed) }

    private init(_ work: @escaping @Sendable (OtherThread) -> Void) { self.work = work }

    /// Runs `work` on a thread while `body` runs on this one; returns when both are through.
    static func run(_ work: @escaping @Sendable (OtherThread) -> Void, beside body: () -> Void) {
        let other = OtherThread(work)
        var thread = pthread_t()
        let argument = unsafe Unmanaged.passRetained(other).toOpaque()
        let failure = unsafe pthread_create(
            &thread,
            nil,
            { argument in
                if let argument = unsafe argument {
                    let other = unsafe Unmanaged<OtherThread>.fromOpaque(argument)
                        .takeRetainedValue()
                    other.began.store(true, ordering: .relaxed)
                    other.work(other)
                }
                return nil
            },
            argument
        )
        precondition(failure == 0, "no thread")
        while !other.began.load(ordering: .relaxed) { sched_yield() }
        body()
        other.over.store(true, ordering: .relaxed)
        pthread_join(thread, nil)
    }
}

/// Carries what is used by two threads at once on purpose.
struct UncheckedBox<Value>: @unchecked Sendable { let value: Value }

/// A lock that the thread sanitizer knows, which it does not say of `Mutex`.
@safe final class Lock: @unchecked Sendable {
    // Unchecked: the mutex is made to be shared.
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>

    init() {
        unsafe mutex = .allocate(capacity: 1)
        unsafe pthread_mutex_init(mutex, nil)
    }

    deinit {
        unsafe pthread_mutex_destroy(mutex)
        unsafe mutex.deallocate()
    }

    func withLock<Value>(_ body: () -> Value) -> Value {
        unsafe pthread_mutex_lock(mutex)
        defer { unsafe pthread_mutex_unlock(mutex) }
        return body()
    }
}
