// What ports on sockets have in common: frames for which the kernel has no room wait in the engine, and
// somebody has to see when there is room again.

import CNetmap
import Control
import Logging
import Netmap
import Ports

/// A port whose sink is a `SocketSink`.
///
/// Control thread only.
@safe class SocketPort: HostPort {
    private var sink: HostQueue?
    private var watched: (file: OwnedDescriptor, token: UInt64)?
    /// Told when a peer comes and goes.
    var onPeer: (_ isThere: Bool) -> Void = { _ in }

    init(_ options: NetdevOptions, _ place: PortPlace) {
        unsafe super.init(options, pairs: 1, place)
    }

    /// Begins to serve the one pair there is.
    func begin(source: HostQueue, sink: HostQueue, files: [OwnedDescriptor]) {
        unsafe self.sink = unsafe sink
        unsafe start(0, source: source, sink: sink, files: files)
    }

    override func stopAll() {
        unwatch()
        unsafe sink = nil
        super.stopAll()
    }

    /// What says by being writable that there may be room; nil if nothing does.
    func roomFile() -> OwnedDescriptor? { nil }

    override func attend() {
        super.attend()
        guard let sink = unsafe sink else { return }
        let mustWatch = locked { unsafe sink.beginWatching() }
        if mustWatch { watch() }
    }

    private func watch() {
        unwatch()
        if let file = roomFile(),
            let token = try? loop.watch(file, for: .writable, { [unowned self] _ in makeRoom() })
        {
            watched = (file, token)
        } else {
            // Nobody says when: asking is cheap.
            loop.after(0.001) { [weak self] in self?.makeRoom() }
        }
    }

    private func unwatch() {
        if let watched { loop.unwatch(watched.file, watched.token) }
        watched = nil
    }

    private func makeRoom() {
        guard let sink = unsafe sink else { return }
        let isEmpty = locked { unsafe sink.flush() }
        // Anew each time, for the receiver may be another one by now.
        if isEmpty { unwatch() } else { watch() }
        // Who waits for this port may sleep.
        if lossless != nil { pool.recall() }
    }

    /// Calls `body` with the lock of the sink, which workers hold for one batch at most.
    private func locked(_ body: () -> Bool) -> Bool {
        let pair = unsafe plane.pointee.pairs
        while unsafe nm_try_lock(&pair.pointee.sinkLock) == 0 { nm_pause() }
        defer { unsafe nm_unlock(&pair.pointee.sinkLock) }
        return body()
    }
}
