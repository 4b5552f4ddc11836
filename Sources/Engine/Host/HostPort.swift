// Ports whose other end is a descriptor of this host: what they have in common, which is how their
// queues come into workers' hands and out of them, and that they try again when the other end goes.

import CNetmap
import Control
import Logging
import Netmap
import Ports

/// A port whose frames come from, and go to, descriptors of this host.
///
/// Control thread only. A subclass makes the descriptors in `attach`, hands their queues over with
/// `start`, and calls `lose` when it finds that the other end has gone.
@safe class HostPort: Port {
    let options: NetdevOptions
    let loop: EventLoop

    /// The two queues of one pair, and what keeps their descriptors open.
    private struct Channel {
        let source: UInt64
        let sink: UInt64
        let files: [OwnedDescriptor]
    }

    private var channels: [Int: Channel] = [:]
    /// Who moves the frames instead of the port itself; nil for a port that workers serve.
    weak var carrier: (any HostCarrier)?
    private var retryTimer: UInt64?
    private var attempts = 0
    /// Told when the other end comes or goes.
    var onChange: () -> Void = {}

    /// Makes a port with room for `pairs` queue pairs.
    init(_ options: NetdevOptions, pairs: Int, _ place: PortPlace) {
        self.options = options
        unsafe loop = place.loop
        unsafe super.init(
            ifname: "\(options.port)",
            master: options.port.master,
            id: options.id,
            owner: place.owner,
            lossless: options.lossless,
            plane: PortPlane.make(
                place.number,
                vale: place.vale,
                pairs: pairs,
                page: place.page,
                lossless: options.lossless
            ),
            pool: place.pool,
            logger: place.logger
        )
    }

    override var netdev: NetdevOptions? { options }
    override var type: String { options.type }
    override var isConnected: Bool { !channels.isEmpty }
    override var isRunning: Bool { !channels.isEmpty }
    override var queues: Int { max(1, channels.count) }

    // MARK: For subclasses

    /// Makes the descriptors and starts their queues.
    func attach() throws {}

    /// Lets go of what `attach` made, besides the queues.
    func detach() {}

    /// Begins to serve a pair.
    ///
    /// - Parameters:
    ///   - index: which pair.
    ///   - source: frames from the other end, if it sends any.
    ///   - sink: where frames to the other end go, if it takes any.
    ///   - files: what both use, kept open until `stop`; the first wakes the worker.
    func start(
        _ index: Int,
        source: HostQueue?,
        sink: HostQueue?,
        files: [OwnedDescriptor]
    ) {
        unsafe channels[index] = Channel(
            source: source?.word ?? 0,
            sink: sink?.word ?? 0,
            files: files
        )
        if let carrier {
            unsafe carrier.take(index, source: source, sink: sink, files: files)
            return
        }
        let pair = unsafe plane.pointee.pairs + index
        unsafe pair.pointee.hold = Hold()
        unsafe pair.pointee.stall = Stall()
        unsafe nm_store32(&plane.pointee.pairCount, UInt32(channels.count))
        if let sink = unsafe sink {
            unsafe nm_store32(&pair.pointee.sinkEnabled, 1)
            unsafe nm_store64_release(&pair.pointee.sink, sink.word)
        }
        if let source = unsafe source {
            unsafe nm_store32(&pair.pointee.sourceEnabled, 1)
            unsafe nm_store64_release(&pair.pointee.source, source.word)
            unsafe pool.serve(plane, index, kicks: Array(files.prefix(1)))
        }
    }

    /// Ends serving all pairs: nobody touches their queues on return.
    func stopAll() {
        guard !channels.isEmpty else { return }
        carrier?.giveBack()
        for index in carrier == nil ? Array(channels.keys) : [] {
            let pair = unsafe plane.pointee.pairs + index
            unsafe pool.release(plane, index)
            unsafe nm_store64_release(&pair.pointee.source, 0)
            unsafe nm_store64_release(&pair.pointee.sink, 0)
            unsafe nm_store32(&pair.pointee.sinkEnabled, 0)
            unsafe nm_store32(&pair.pointee.attention, 0)
        }
        pool.synchronize()
        for (index, channel) in channels {
            unsafe plane.pointee.pairs[index].hold = Hold()
            unsafe HostQueue(word: channel.source).free()
            unsafe HostQueue(word: channel.sink).free()
        }
        channels = [:]
        // Who waited for one of them need not wait any longer, and may sleep.
        if lossless != nil { pool.recall() }
    }

    /// Notes that the other end has gone, and tries again in a while.
    ///
    /// - Parameter why: for people.
    func lose(_ why: String) {
        stopAll()
        detach()
        if reason != why { logger.warning("\(why)") }
        reason = why
        onChange()
        tryAgain()
    }

    /// Forgets earlier failures, and says that all is well.
    func noteAttached() {
        if attempts > 0 { logger.info("the other end is back") }
        attempts = 0
        reason = nil
        onChange()
    }

    /// Tries `attach` later: soon at first, every few seconds in the end.
    func tryAgain() {
        guard retryTimer == nil else { return }
        let delay = min(5, 0.1 * Double(1 << min(attempts, 8)))
        attempts += 1
        retryTimer = loop.after(delay) { [unowned self] in retry() }
    }

    /// Tries `attach` now, if it would be tried later.
    func tryNow() {
        guard let retryTimer else { return }
        loop.cancel(retryTimer)
        attempts = 1
        retry()
    }

    private func retry() {
        retryTimer = nil
        do {
            try attach()
            if isConnected { noteAttached() }
        } catch {
            stopAll()
            detach()
            let why = "\(error)"
            if reason != why { logger.info("\(why)") }
            reason = why
            tryAgain()
        }
    }

    // MARK: Port

    override func open(isRestored: Bool) throws {
        do {
            try attach()
            if isConnected { noteAttached() }
        } catch {
            stopAll()
            detach()
            // What was there before this engine may come back as it went.
            guard isRestored else { throw error }
            reason = "\(error)"
            tryAgain()
        }
    }

    override func close() {
        if let retryTimer { loop.cancel(retryTimer) }
        retryTimer = nil
        stopAll()
        detach()
        super.close()
    }

    /// What a queue's errno means, for people.
    func explain(_ code: Int32) -> String { "\(SystemError("\(type) \(ifname)", result: -code))" }

    override func attend() {
        for (index, channel) in channels {
            unsafe nm_store32(&plane.pointee.pairs[index].attention, 0)
            let source = unsafe HostQueue(word: channel.source).fault
            let sink = unsafe HostQueue(word: channel.sink).fault
            let code = source != 0 ? source : sink
            if code != 0 { return lose(explain(code)) }
        }
    }
}

/// Whoever moves the frames of a host port that is no port of a switch.
@safe protocol HostCarrier: AnyObject {
    /// Begins to move the frames of a pair.
    func take(_ index: Int, source: HostQueue?, sink: HostQueue?, files: [OwnedDescriptor])

    /// Ends it for all pairs: nobody touches the queues on return.
    func giveBack()
}
