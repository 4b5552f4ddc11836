// Rings, from their first mention to their last base (vhost-user-spec 2.6, rules 1 to 6).

import Netmap

extension Session {
    /// What is known of a ring.
    struct RingState {
        var size: UInt16 = 0
        var descriptors: UInt64?
        var available: UInt64 = 0
        var used: UInt64 = 0
        var isLogged = false
        var base: UInt32 = 0
        var kick: OwnedDescriptor?
        var isKicked = false
        var isEnabled = false
        var isRunning = false
        /// Whether it would run if its memory were there.
        var waitsForMemory = false
    }

    /// The index of a ring, if there can be one.
    static func check(ring index: UInt64) throws(SessionError) -> Int {
        guard index < 2 * UInt64(maximumQueuePairs) else {
            throw SessionError("ring \(index); there are \(2 * maximumQueuePairs)")
        }
        return Int(index)
    }

    mutating func setVringNum(
        _ payload: inout Payload,
        _ controller: inout some RingController
    ) throws(SessionError) {
        let (index, number) = try payload.state()
        guard number > 0, number <= 32768 else {
            throw SessionError("a ring of \(number) entries; 1 to 32768 are possible")
        }
        try change(index, &controller) { $0.size = UInt16(number) }
    }

    mutating func setVringAddr(
        _ payload: inout Payload,
        _ controller: inout some RingController
    ) throws(SessionError) {
        guard payload.count == 40, let ring = payload.u32(), let flags = payload.u32(),
            let descriptors = payload.u64(), let used = payload.u64(),
            let available = payload.u64()
        else { throw SessionError("\(payload.count) bytes of ring addresses, expected 40") }
        let index = try Session.check(ring: UInt64(ring))
        // Packed rings have event areas of four bytes here, for which the same alignment will do.
        guard descriptors % 16 == 0, available % 2 == 0, used % 4 == 0 else {
            throw SessionError("ring \(index) is not aligned")
        }
        // The guest address to log, which follows, is one of memory that we have the addresses of.
        try change(index, &controller) {
            $0.descriptors = descriptors
            $0.available = available
            $0.used = used
            $0.isLogged = flags & 1 != 0
        }
    }

    mutating func setVringEnable(
        _ payload: inout Payload,
        _ controller: inout some RingController
    ) throws(SessionError) {
        let (index, number) = try payload.state()
        guard number <= 1 else { throw SessionError("a ring is enabled by 1, not by \(number)") }
        mention(index)
        rings[index].isEnabled = number == 1
        controller.enable(ring: index, number == 1)
    }

    /// VRING_KICK, which starts a ring like SET_VRING_KICK does.
    mutating func kick(
        _ payload: inout Payload,
        _ controller: inout some RingController
    ) throws(SessionError) {
        guard has(ProtocolFeature.inBandNotifications) else {
            throw SessionError("in-band notifications were not negotiated")
        }
        let (index, _) = try payload.state()
        mention(index)
        if !rings[index].isKicked {
            rings[index].isKicked = true
            try startIfReady(index, &controller)
        }
        if rings[index].isRunning { controller.kick(ring: index) }
    }

    mutating func getVringBase(
        _ payload: inout Payload,
        _ controller: inout some RingController
    ) throws(SessionError) -> Answer {
        // The number in the request may be garbage.
        let (index, _) = try payload.state()
        mention(index)
        stop(index, &controller)
        controller.conclude(ring: index)
        rings[index].isKicked = false
        rings[index].waitsForMemory = false
        rings[index].kick = nil
        return .word(UInt64(index) | UInt64(rings[index].base) << 32)
    }

    mutating func resetDevice(_ controller: inout some RingController) {
        for index in rings.indices {
            stop(index, &controller)
            controller.conclude(ring: index)
            if rings[index].isEnabled { controller.enable(ring: index, false) }
            rings[index] = RingState()
        }
    }

    /// Applies a change to a ring, around a stop and a start if it runs.
    mutating func change(
        _ index: Int,
        _ controller: inout some RingController,
        _ body: (inout RingState) -> Void
    ) throws(SessionError) {
        mention(index)
        stop(index, &controller)
        body(&rings[index])
        try startIfReady(index, &controller)
    }

    /// Stops a ring if it runs, and remembers where it was.
    mutating func stop(_ index: Int, _ controller: inout some RingController) {
        guard rings[index].isRunning else { return }
        rings[index].base = controller.stop(ring: index)
        rings[index].isRunning = false
    }

    /// Stops what runs.
    ///
    /// - Returns: which rings that were.
    mutating func stopAll(_ controller: inout some RingController) -> [Int] {
        let running = rings.indices.filter { rings[$0].isRunning }
        for index in running { stop(index, &controller) }
        return running
    }

    /// Starts a ring that was kicked, unless it has to wait for its memory.
    mutating func startIfReady(
        _ index: Int,
        _ controller: inout some RingController
    ) throws(SessionError) {
        let ring = rings[index]
        guard ring.isKicked, !ring.isRunning else { return }
        guard hasMemory || ring.waitsForMemory, ring.size > 0, ring.descriptors != nil else {
            throw SessionError("ring \(index) is started before its memory and addresses are known")
        }
        let isPacked = features & Feature.packedRing != 0
        guard isPacked ? ring.available % 4 == 0 : ring.size & (ring.size - 1) == 0 else {
            throw SessionError(
                isPacked
                    ? "the driver event area of ring \(index) is not aligned"
                    : "a split ring of \(ring.size) entries; a power of two is needed"
            )
        }
        guard let areas = locate(ring, &controller) else {
            rings[index].waitsForMemory = true
            return
        }
        rings[index].waitsForMemory = false
        if features & Feature.protocolFeatures == 0, !ring.isEnabled {
            rings[index].isEnabled = true
            controller.enable(ring: index, true)
        }
        try controller.start(
            ring: index,
            RingSetup(
                size: ring.size,
                descriptors: areas.descriptors,
                available: areas.available,
                used: areas.used,
                base: ring.base,
                features: features,
                kick: ring.kick,
                isInBand: has(ProtocolFeature.inBandNotifications),
                isLogged: ring.isLogged
            )
        )
        rings[index].isRunning = true
    }

    /// Does what no ring may run for; what ran before runs again, also after a refusal.
    mutating func withRingsStopped<Controller: RingController>(
        _ controller: inout Controller,
        _ body: (inout Controller) throws(SessionError) -> Void
    ) throws(SessionError) {
        let running = stopAll(&controller)
        do throws(SessionError) {
            try body(&controller)
        } catch {
            try start(running, &controller)
            throw error
        }
        try start(running, &controller)
    }

    /// Starts what `stopAll` stopped.
    mutating func start(
        _ running: [Int],
        _ controller: inout some RingController
    ) throws(SessionError) {
        for index in running { try startIfReady(index, &controller) }
    }

    /// Makes room for a ring that is spoken of.
    mutating func mention(_ index: Int) {
        while rings.count <= index { rings.append(RingState()) }
    }
}
