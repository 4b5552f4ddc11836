// One front-end's conversation with one port: a state machine without I/O. Messages and descriptors
// come in, replies go out, and what has to happen to memory and rings is asked of a `RingController`.

import CNetmap
public import Netmap

/// A ring's set-up when it starts, addresses as the front-end sees them.
public struct RingSetup {
    /// Entries.
    public var size: UInt16
    /// Where the descriptor table is, in the front-end's address space.
    public var descriptors: UInt64
    /// Where the driver's ring is.
    public var available: UInt64
    /// Where the device's ring is.
    public var used: UInt64
    /// Guest address of the part of the ring that the device writes, if that is to be logged.
    public var logAddress: UInt64?
    /// Where to begin: the argument of SET_VRING_BASE.
    public var base: UInt32
    /// Features that the driver acknowledged.
    public var features: UInt64
    /// Readable when the guest has added buffers; nil if the ring is to be polled.
    public var kick: OwnedDescriptor?

    /// Bytes that the three areas of a ring of `size` entries take.
    public static func areas(
        _ size: UInt16,
        isPacked: Bool
    ) -> (descriptors: Int, available: Int, used: Int) {
        let n = Int(size)
        let descriptors = n * NM_VRING_DESC_SIZE
        return isPacked
            ? (descriptors, 4, 4) : (descriptors, 6 + 2 * n, 6 + NM_VRING_USED_ELEM_SIZE * n)
    }
}

/// What a session needs done.
///
/// The engine does it; tests write it down.
public protocol RingController {
    /// Maps the guest's memory; no ring is running.
    mutating func map(_ regions: [MemoryRegion], _ files: [OwnedDescriptor]) throws(SessionError)
    /// Starts ring `index`, which is not running.
    mutating func start(ring index: Int, _ setup: RingSetup) throws(SessionError)
    /// Stops ring `index`: when this returns nothing touches it any more.
    ///
    /// - Returns: what GET_VRING_BASE answers.
    mutating func stop(ring index: Int) -> UInt32
    /// Lets frames flow, or discards them, on a ring that may not be running yet.
    mutating func enable(ring index: Int, _ enabled: Bool)
    /// What to write when the guest wants an interrupt; at any time, running or not.
    mutating func setCall(ring index: Int, _ call: OwnedDescriptor?) throws(SessionError)
    /// What to write when the ring is broken.
    mutating func setError(ring index: Int, _ error: OwnedDescriptor?)
    /// Where to note which pages are written from now on; no ring is running.
    mutating func setLog(_ file: OwnedDescriptor, size: UInt64, offset: UInt64) throws(SessionError)
    /// Announces the guest's address after a migration (SEND_RARP); first octet in the low byte.
    mutating func announce(_ mac: UInt64)
    /// The guest's MTU, as its front-end fixed it.
    mutating func setMTU(_ mtu: UInt64) throws(SessionError)
}

/// The state of one connection.
///
/// Every setter is idempotent, and any order of messages is legal in which each makes sense by
/// itself: front-ends differ (vhost-user-spec 2.4, 2.6).
public struct Session {
    /// Ring pairs that a front-end may use.
    public static let maximumQueuePairs = 64

    struct RingState {
        var size: UInt16 = 0
        var descriptors: UInt64?
        var available: UInt64 = 0
        var used: UInt64 = 0
        var logAddress: UInt64?
        var base: UInt32 = 0
        var kick: OwnedDescriptor?
        var isKicked = false
        var isEnabled = false
        var isRunning = false
        var waitsForMemory = false
    }

    /// Features acknowledged in SET_FEATURES.
    public internal(set) var features: UInt64 = 0
    /// Protocol features acknowledged.
    public internal(set) var protocolFeatures: UInt64 = 0
    /// How many requests were handled.
    public private(set) var messageCount = 0
    var status: UInt64 = 0
    var hasMemory = false
    var regions: [MemoryRegion] = []
    var memoryFiles: [OwnedDescriptor] = []
    var backendChannel: OwnedDescriptor?
    var rings: [RingState] = []

    /// Begins a conversation.
    public init() {}

    /// Handles one message.
    ///
    /// - Returns: the bytes to send back, if any.
    /// - Throws: when the connection must be closed; the error says why.
    public mutating func handle(
        _ header: MessageHeader,
        _ payload: [UInt8],
        _ files: [OwnedDescriptor],
        _ controller: inout some RingController
    ) throws(SessionError) -> [UInt8]? {
        guard let request = Request(rawValue: header.request) else {
            throw SessionError("request \(header.request), which a network back-end does not have")
        }
        messageCount += 1
        var outcome: UInt64 = 0
        do throws(SessionError) {
            if let reply = try perform(request, payload, files, &controller) {
                return MessageHeader.reply(request, reply)
            }
        } catch {
            let asked = header.needsReply && protocolFeatures & ProtocolFeature.replyAck != 0
            guard error.isRefusal, asked else {
                throw SessionError("\(request.name): \(error.description)")
            }
            outcome = 1
        }
        guard header.needsReply, protocolFeatures & ProtocolFeature.replyAck != 0 else {
            return nil
        }
        var word: [UInt8] = []
        word.append(little: outcome)
        return MessageHeader.reply(request, word)
    }

    /// Stops whatever still runs: the front-end is gone, and nobody asks for indices any more.
    public mutating func close(_ controller: inout some RingController) {
        for index in rings.indices where rings[index].isRunning {
            rings[index].base = controller.stop(ring: index)
            rings[index].isRunning = false
        }
        rings = []
        backendChannel = nil
    }

    private mutating func perform(
        _ request: Request,
        _ payload: [UInt8],
        _ files: [OwnedDescriptor],
        _ controller: inout some RingController
    ) throws(SessionError) -> [UInt8]? {
        var reader = PayloadReader(payload)
        switch request {
        case .getFeatures:
            return word(Feature.offered)
        case .setFeatures:
            try setFeatures(try u64(&reader, payload), &controller)
        case .setOwner, .resetOwner:
            break
        case .setMemoryTable:
            try setMemoryTable(payload, files, &controller)
        case .setLogBase:
            try setLogBase(payload, files, &controller)
            return []
        case .setLogFD:
            // An eventfd that says when the log grew; who reads the log need not be told.
            break
        case .getMaximumMemorySlots:
            return word(UInt64(GuestMemory.maximumRegions))
        case .addMemoryRegion:
            try changeRegion(payload, files, adding: true, &controller)
        case .removeMemoryRegion:
            try changeRegion(payload, files, adding: false, &controller)
        case .setVringNum:
            let (index, num) = try state(&reader, payload)
            guard num > 0, num <= 32768 else {
                throw SessionError("a ring of \(num) entries; 1 to 32768 are possible")
            }
            try change(index, &controller) { $0.size = UInt16(num) }
        case .setVringAddr:
            try setVringAddr(payload, &controller)
        case .setVringBase:
            let (index, num) = try state(&reader, payload)
            try change(index, &controller) { $0.base = num }
        case .getVringBase:
            return try getVringBase(&reader, payload, &controller)
        case .setVringKick:
            let (index, file) = try ringFile(&reader, payload, files)
            try change(index, &controller) {
                $0.kick = file
                $0.isKicked = true
            }
        case .setVringCall:
            let (index, file) = try ringFile(&reader, payload, files)
            try controller.setCall(ring: index, file)
        case .setVringErr:
            let (index, file) = try ringFile(&reader, payload, files)
            controller.setError(ring: index, file)
        case .getProtocolFeatures:
            return word(ProtocolFeature.offered)
        case .setProtocolFeatures:
            let bits = try u64(&reader, payload)
            guard bits & ~ProtocolFeature.offered == 0 else {
                throw SessionError("protocol features that were not offered: \(hex(bits))")
            }
            protocolFeatures = bits
        case .getQueueNum:
            return word(UInt64(Session.maximumQueuePairs))
        case .setVringEnable:
            let (index, num) = try state(&reader, payload)
            guard num <= 1 else { throw SessionError("a ring is enabled by 1, not by \(num)") }
            try mention(index)
            rings[index].isEnabled = num == 1
            controller.enable(ring: index, num == 1)
        case .sendRARP:
            controller.announce(try u64(&reader, payload) & 0xffff_ffff_ffff)
        case .netSetMTU:
            try controller.setMTU(try u64(&reader, payload))
        case .setBackendRequestFD:
            guard files.count == 1 else {
                throw SessionError("\(files.count) descriptors, expected 1")
            }
            backendChannel = files[0]
        case .resetDevice:
            for index in rings.indices {
                if rings[index].isRunning { _ = controller.stop(ring: index) }
                if rings[index].isEnabled { controller.enable(ring: index, false) }
                rings[index] = RingState()
            }
        case .setStatus:
            // Zero comes before GET_VRING_BASE in QEMU 7.2, so it must not forget the indices.
            status = try u64(&reader, payload)
        case .getStatus:
            return word(status)
        }
        return nil
    }
}

// MARK: Requests that take more than a line

extension Session {
    private mutating func setFeatures(
        _ bits: UInt64,
        _ controller: inout some RingController
    ) throws(SessionError) {
        guard bits & ~Feature.offered == 0 else {
            throw SessionError("features that were not offered: \(hex(bits & ~Feature.offered))")
        }
        let changed = bits != features
        features = bits
        if bits & Feature.protocolFeatures == 0 {
            // Without protocol features there is no SET_VRING_ENABLE: all rings are enabled.
            for index in rings.indices where !rings[index].isEnabled {
                rings[index].isEnabled = true
                controller.enable(ring: index, true)
            }
        }
        guard changed else { return }
        for index in rings.indices where rings[index].isRunning {
            try change(index, &controller) { _ in }
        }
    }

    private mutating func setMemoryTable(
        _ payload: [UInt8],
        _ files: [OwnedDescriptor],
        _ controller: inout some RingController
    ) throws(SessionError) {
        var reader = PayloadReader(payload)
        guard let count = reader.u32(), reader.u32() != nil, count <= 8,
            payload.count == 8 + 32 * Int(count)
        else { throw SessionError("a memory table of \(payload.count) bytes") }
        var table: [MemoryRegion] = []
        for _ in 0..<count {
            guard let guest = reader.u64(), let size = reader.u64(), let user = reader.u64(),
                let offset = reader.u64()
            else { throw SessionError("a memory table that is cut short") }
            table.append(
                MemoryRegion(
                    guestAddress: guest,
                    size: size,
                    userAddress: user,
                    fileOffset: offset
                )
            )
        }
        guard files.count == table.count else {
            throw SessionError("\(table.count) memory regions but \(files.count) files")
        }
        // The same table again, while rings run, changes nothing (QEMU sends it once per pair).
        if hasMemory, table == regions, rings.contains(where: \.isRunning) { return }
        try setMemory(table, files, &controller)
    }

    /// Replaces all memory, around a stop and a start of whatever runs.
    private mutating func setMemory(
        _ table: [MemoryRegion],
        _ files: [OwnedDescriptor],
        _ controller: inout some RingController
    ) throws(SessionError) {
        let running = stopAll(&controller)
        hasMemory = false
        if !table.isEmpty {
            try controller.map(table, files)
            hasMemory = true
        }
        regions = table
        memoryFiles = files
        // Slots are replaced one by one: a ring whose memory is not there now waits until it is.
        for index in running { rings[index].waitsForMemory = true }
        for index in rings.indices where rings[index].waitsForMemory {
            try startIfReady(index, &controller)
        }
    }

    /// Whether all three areas of a ring lie in the memory that is mapped now.
    private func contains(_ ring: RingState) -> Bool {
        guard let descriptors = ring.descriptors else { return false }
        let sizes = RingSetup.areas(ring.size, isPacked: features & Feature.packedRing != 0)
        let areas = [
            (descriptors, sizes.descriptors), (ring.available, sizes.available),
            (ring.used, sizes.used),
        ]
        return areas.allSatisfy { address, length in
            regions.contains { region in
                let offset = address &- region.userAddress
                return offset < region.size && UInt64(length) <= region.size - offset
            }
        }
    }

    /// Stops what runs, keeping where it was.
    private mutating func stopAll(_ controller: inout some RingController) -> [Int] {
        let running = rings.indices.filter { rings[$0].isRunning }
        for index in running {
            rings[index].base = controller.stop(ring: index)
            rings[index].isRunning = false
        }
        return running
    }

    private mutating func changeRegion(
        _ payload: [UInt8],
        _ files: [OwnedDescriptor],
        adding: Bool,
        _ controller: inout some RingController
    ) throws(SessionError) {
        var reader = PayloadReader(payload)
        guard payload.count == 40, reader.u64() != nil, let guest = reader.u64(),
            let size = reader.u64(), let user = reader.u64(), let offset = reader.u64()
        else { throw SessionError("\(payload.count) bytes of memory region, expected 40") }
        let region = MemoryRegion(
            guestAddress: guest,
            size: size,
            userAddress: user,
            fileOffset: offset
        )
        // QEMU 7.2 repeats both requests for every queue pair: the second time there is nothing to do.
        let known = regions.firstIndex {
            $0.guestAddress == guest && $0.userAddress == user && $0.size == size
        }
        if adding {
            guard files.count == 1 else {
                throw SessionError("\(files.count) descriptors, expected 1")
            }
            guard known == nil else { return }
            try setMemory(regions + [region], memoryFiles + files, &controller)
        } else {
            guard let known else { return }
            var (table, kept) = (regions, memoryFiles)
            table.remove(at: known)
            kept.remove(at: known)
            try setMemory(table, kept, &controller)
        }
    }

    private mutating func setLogBase(
        _ payload: [UInt8],
        _ files: [OwnedDescriptor],
        _ controller: inout some RingController
    ) throws(SessionError) {
        var reader = PayloadReader(payload)
        guard payload.count == 16, let size = reader.u64(), let offset = reader.u64(),
            files.count == 1
        else {
            throw SessionError(
                "a dirty log of \(payload.count) bytes with \(files.count) descriptors"
            )
        }
        let running = stopAll(&controller)
        try controller.setLog(files[0], size: size, offset: offset)
        for index in running { try startIfReady(index, &controller) }
    }

    private mutating func setVringAddr(
        _ payload: [UInt8],
        _ controller: inout some RingController
    ) throws(SessionError) {
        var reader = PayloadReader(payload)
        guard payload.count == 40, let index = reader.u32(), let flags = reader.u32(),
            let descriptors = reader.u64(), let used = reader.u64(), let available = reader.u64(),
            let logAddress = reader.u64()
        else { throw SessionError("\(payload.count) bytes of ring addresses, expected 40") }
        // Packed rings have event areas of four bytes here, for which the same alignment will do.
        guard descriptors % 16 == 0, available % 2 == 0, used % 4 == 0 else {
            throw SessionError("ring \(index) is not aligned")
        }
        try change(Int(index), &controller) {
            $0.descriptors = descriptors
            $0.available = available
            $0.used = used
            $0.logAddress = flags & 1 != 0 ? logAddress : nil
        }
    }

    private mutating func getVringBase(
        _ reader: inout PayloadReader,
        _ payload: [UInt8],
        _ controller: inout some RingController
    ) throws(SessionError) -> [UInt8] {
        let (index, _) = try state(&reader, payload)
        try mention(index)
        if rings[index].isRunning {
            rings[index].base = controller.stop(ring: index)
            rings[index].isRunning = false
        }
        rings[index].isKicked = false
        rings[index].waitsForMemory = false
        rings[index].kick = nil
        var reply: [UInt8] = []
        reply.append(little: UInt32(index))
        reply.append(little: rings[index].base)
        return reply
    }

    /// Applies a change to a ring, around a stop and a start if it runs.
    private mutating func change(
        _ index: Int,
        _ controller: inout some RingController,
        _ body: (inout RingState) -> Void
    ) throws(SessionError) {
        try mention(index)
        if rings[index].isRunning {
            rings[index].base = controller.stop(ring: index)
            rings[index].isRunning = false
        }
        body(&rings[index])
        try startIfReady(index, &controller)
    }

    private mutating func startIfReady(
        _ index: Int,
        _ controller: inout some RingController
    ) throws(SessionError) {
        let ring = rings[index]
        guard ring.isKicked, !ring.isRunning else { return }
        if ring.waitsForMemory {
            guard contains(ring) else { return }
            rings[index].waitsForMemory = false
        }
        guard hasMemory, ring.size > 0, let descriptors = ring.descriptors else {
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
        if features & Feature.protocolFeatures == 0, !ring.isEnabled {
            rings[index].isEnabled = true
            controller.enable(ring: index, true)
        }
        try controller.start(
            ring: index,
            RingSetup(
                size: ring.size,
                descriptors: descriptors,
                available: ring.available,
                used: ring.used,
                logAddress: ring.logAddress,
                base: ring.base,
                features: features,
                kick: ring.kick
            )
        )
        rings[index].isRunning = true
    }

    private mutating func mention(_ index: Int) throws(SessionError) {
        guard index < 2 * Session.maximumQueuePairs else {
            throw SessionError("ring \(index); there are \(2 * Session.maximumQueuePairs)")
        }
        while rings.count <= index { rings.append(RingState()) }
    }

    // MARK: Payload shapes

    private func word(_ value: UInt64) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(little: value)
        return bytes
    }

    private func hex(_ bits: UInt64) -> String { "0x" + String(bits, radix: 16) }

    private func u64(
        _ reader: inout PayloadReader,
        _ payload: [UInt8]
    ) throws(SessionError) -> UInt64 {
        guard payload.count == 8, let value = reader.u64() else {
            throw SessionError("\(payload.count) bytes of payload, expected 8")
        }
        return value
    }

    private func state(
        _ reader: inout PayloadReader,
        _ payload: [UInt8]
    ) throws(SessionError) -> (Int, UInt32) {
        guard payload.count == 8, let index = reader.u32(), let num = reader.u32() else {
            throw SessionError("\(payload.count) bytes of payload, expected 8")
        }
        guard index < 2 * Session.maximumQueuePairs else {
            throw SessionError("ring \(index); there are \(2 * Session.maximumQueuePairs)")
        }
        return (Int(index), num)
    }

    private func ringFile(
        _ reader: inout PayloadReader,
        _ payload: [UInt8],
        _ files: [OwnedDescriptor]
    ) throws(SessionError) -> (Int, OwnedDescriptor?) {
        let value = try u64(&reader, payload)
        let index = Int(value & 0xff)
        guard index < 2 * Session.maximumQueuePairs else {
            throw SessionError("ring \(index); there are \(2 * Session.maximumQueuePairs)")
        }
        let expected = value & 0x100 != 0 ? 0 : 1
        guard files.count == expected else {
            throw SessionError("\(files.count) descriptors, expected \(expected)")
        }
        return (index, files.first)
    }
}
