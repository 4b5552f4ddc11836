// One direction of an emulated link between two ports.

internal import Netmap
internal import Synchronization
internal import Traffic

/// What a direction has done so far; others read it while it goes on.
final class EmulatorProgress: Sendable {
    struct State {
        var counts = LinkModel.Counts()
        var sent: UInt64 = 0
        /// Frames that no slots of the other port can take.
        var tooLong: UInt64 = 0
        var underWay = 0
        /// Nanoseconds by which a frame left after its time, at most.
        var latest: UInt64 = 0
    }

    private let state = Mutex(State())
    var now: State { state.withLock { $0 } }
    func set(_ new: State) { state.withLock { $0 = new } }
}

/// One direction: what comes at one port leaves at another when the model says so.
struct Emulator {
    let settings: LinkSettings
    let seed: UInt64
    /// Bytes under way at most; more waits in the port.
    let memory: Int
    let burst: Int
    let progress: EmulatorProgress

    func run(_ input: borrowing Port, _ output: borrowing Port) throws {
        var line = DelayLine(LinkModel(settings, seed: seed), bytes: memory)
        var state = EmulatorProgress.State()
        Clock.sharpen()
        while !Ending.isDue {
            let isFull = take(from: input, &line)
            let isBlocked = put(&line, output, &state)
            try output.syncTransmit()
            state.counts = line.counts
            state.underWay = line.count
            progress.set(state)
            var timeout = Duration.milliseconds(200)
            if !isBlocked, let due = line.nextDue {
                let now = Clock.now
                timeout = min(timeout, .nanoseconds(due > now ? Int64(clamping: due - now) : 0))
            }
            _ = try Port.poll(
                input,
                isFull ? [] : .receive,
                output,
                isBlocked ? .transmit : [],
                timeout: timeout
            )
        }
        state.counts = line.counts
        progress.set(state)
        try Emulator.drain(output)
    }

    /// Puts on the line what has come.
    ///
    /// - Returns: whether something must wait for memory.
    private func take(from input: borrowing Port, _ line: inout DelayLine) -> Bool {
        let now = Clock.now
        var isFull = false
        for index in input.receiveRings where !isFull {
            var ring = input.receiveRing(index)
            var frames = 0
            while frames < burst {
                let slots = ring.frameSlots()
                if slots == 0 { break }
                if Emulator.add(ring.frame(at: 0, slots: slots), to: &line, at: now) == .mustWait {
                    isFull = true
                    break
                }
                ring.release(slots)
                frames += 1
            }
        }
        return isFull
    }

    private static func add(
        _ frame: borrowing ReceivedFrame,
        to line: inout DelayLine,
        at now: UInt64
    ) -> DelayLine.Result {
        line.add(length: frame.length, at: now) { _ = frame.copy(into: &$0) }
    }

    /// Sends what is due.
    ///
    /// - Returns: whether there was no room for something.
    private func put(
        _ line: inout DelayLine,
        _ output: borrowing Port,
        _ state: inout EmulatorProgress.State
    ) -> Bool {
        let now = Clock.now
        while let due = line.nextDue, due <= now {
            // One ring, or frames would overtake each other.
            var ring = output.transmitRing()
            let isSent = line.take(at: now) { ring.send($0) }
            if isSent {
                state.sent += 1
                state.latest = max(state.latest, now - due)
            } else if ring.isDrained {
                _ = line.take(at: now) { _ in true }
                state.tooLong += 1
            } else {
                return true
            }
        }
        return false
    }

    /// Waits until all has been taken, so that nothing is lost with the port; not for ever.
    static func drain(_ port: borrowing Port) throws {
        let deadline = Clock.now + 1_000_000_000
        while Clock.now < deadline {
            try port.syncTransmit()
            var isDrained = true
            for index in port.transmitRings where !port.transmitRing(index).isDrained {
                isDrained = false
            }
            if isDrained { return }
            Clock.nap()
        }
    }
}
