// Writes down what a session asks for, and objects to what a session must never ask for.

import Netmap
import Testing

@testable import VhostUser

struct RecordingController: RingController {
    /// What happened, one line a call.
    var events: [String] = []
    /// Rules that were broken.
    var violations: [String] = []
    var running: Set<Int> = []
    var enabled: [Int: Bool] = [:]
    var setups: [Int: RingSetup] = [:]
    var calls: [Int: OwnedDescriptor] = [:]
    var errors: [Int: OwnedDescriptor] = [:]
    /// What `stop` answers; by default the base that the ring was started with, plus 7.
    var indices: [Int: UInt32] = [:]
    var concluded: [Int] = []
    var channel: OwnedDescriptor?
    /// What the front-end was asked for.
    var asked: [BackendRequest] = []
    /// Throw this from `map`, `start` or `setMTU`.
    var refusal: SessionError?
    /// Throw it the first time only.
    var refusesOnce = false
    /// Map memory, logs and records for real, as the engine does.
    var mapsMemory = false
    var memory: GuestMemory?

    /// The events since the last call.
    mutating func take() -> [String] {
        defer { events = [] }
        return events
    }

    private mutating func refuse() throws(SessionError) {
        guard let refusal else { return }
        if refusesOnce { self.refusal = nil }
        throw refusal
    }

    mutating func map(_ regions: [MemoryRegion], _ files: [OwnedDescriptor]) throws(SessionError) {
        events.append("map \(regions.count) \(files.count)")
        if !running.isEmpty { violations.append("mapped while \(running.sorted()) run") }
        try refuse()
        guard mapsMemory else { return }
        memory = try really { () throws(GuestMemoryError) in
            try GuestMemory(regions, files: files)
        }
    }

    /// Does what the engine does, and refuses as it does.
    private func really<Value>(
        _ make: () throws(GuestMemoryError) -> Value
    ) throws(SessionError) -> Value {
        do throws(GuestMemoryError) {
            return try make()
        } catch {
            throw SessionError(error.description, isRefusal: true)
        }
    }

    mutating func start(ring index: Int, _ setup: RingSetup) throws(SessionError) {
        events.append("start \(index) size \(setup.size) base \(setup.base)")
        if running.contains(index) { violations.append("started \(index) while it runs") }
        let isPacked = setup.features & Feature.packedRing != 0
        if setup.size == 0 || !isPacked && setup.size & (setup.size - 1) != 0 {
            violations.append("started \(index) with \(setup.size) entries")
        }
        let areas = [(setup.descriptors, 16), (setup.available, 2), (setup.used, 4)]
        if areas.contains(where: { $0.0.isEmpty || $0.0[0].address % UInt64($0.1) != 0 }) {
            violations.append("started \(index) unaligned")
        }
        try refuse()
        if mapsMemory, let memory {
            for ranges in [setup.descriptors, setup.available, setup.used] {
                _ = try really { () throws(GuestMemoryError) in try RingArea(ranges, in: memory) }
            }
        }
        running.insert(index)
        setups[index] = setup
    }

    mutating func stop(ring index: Int) -> UInt32 {
        events.append("stop \(index)")
        if running.remove(index) == nil {
            violations.append("stopped \(index), which does not run")
        }
        return indices[index] ?? (setups[index]?.base ?? 0) &+ 7
    }

    mutating func conclude(ring index: Int) { concluded.append(index) }

    mutating func setTranslations(_ iotlb: IOTLB) {
        events.append("translate \(iotlb.entries.count)")
        if mapsMemory { TranslationTable.free(TranslationTable().replace(iotlb, in: memory)) }
    }

    mutating func kick(ring index: Int) { events.append("kick \(index)") }

    mutating func makeInflight(
        rings: Int
    ) throws(SessionError) -> (file: OwnedDescriptor, size: UInt64) {
        events.append("make inflight \(rings)")
        do throws(SystemError) {
            let file = try InflightRegion.make(rings: rings)
            return (file, UInt64(InflightRegion.length(rings: rings)))
        } catch {
            throw SessionError("\(error)")
        }
    }

    mutating func setInflight(
        _ file: OwnedDescriptor,
        rings: Int,
        size: UInt64,
        offset: UInt64
    ) throws(SessionError) {
        events.append("inflight \(rings) \(size) at \(offset)")
        if !running.isEmpty { violations.append("new records while \(running.sorted()) run") }
        try refuse()
        guard mapsMemory else { return }
        _ = try really { () throws(GuestMemoryError) in
            try InflightRegion(file, rings: rings, size: size, offset: offset)
        }
    }

    mutating func setBackendChannel(_ file: OwnedDescriptor) throws(SessionError) {
        events.append("channel")
        channel = file
    }

    mutating func ask(_ request: BackendRequest) { asked.append(request) }

    func configuration() -> [UInt8] { Array(0..<17) }

    mutating func setLog(
        _ file: OwnedDescriptor,
        size: UInt64,
        offset: UInt64
    ) throws(SessionError) {
        events.append("log \(size) at \(offset)")
        if !running.isEmpty { violations.append("changed the log while \(running.sorted()) run") }
        try refuse()
        guard mapsMemory else { return }
        _ = try really { () throws(GuestMemoryError) in
            try DirtyLog(file: file, size: size, offset: offset)
        }
    }

    mutating func enable(ring index: Int, _ enabled: Bool) {
        events.append("\(enabled ? "enable" : "disable") \(index)")
        self.enabled[index] = enabled
    }

    mutating func setCall(ring index: Int, _ call: OwnedDescriptor?) throws(SessionError) {
        events.append("call \(index) \(call == nil ? "none" : "fd")")
        calls[index] = call
    }

    mutating func setError(ring index: Int, _ error: OwnedDescriptor?) {
        events.append("err \(index) \(error == nil ? "none" : "fd")")
        errors[index] = error
    }

    mutating func announce(_ mac: UInt64) { events.append("announce \(String(mac, radix: 16))") }

    mutating func setMTU(_ mtu: UInt64) throws(SessionError) {
        events.append("mtu \(mtu)")
        try refuse()
    }
}
