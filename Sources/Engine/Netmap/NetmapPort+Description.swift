// What operators are told about a program's port: its rings, and syncs that made no sense.

import CNetmap
import Control
import Logging
import Netmap

extension NetmapPort {
    /// Adds the members of `query-ports` about memory and rings.
    func describeRings(_ object: inout JSONObject) {
        object["virtio-net-header"] = .integer(adapter.headerLength)
        object["memory"] = adapter.region.map { .integer(Int($0.id)) } ?? .null
        object["rings"] = .array(
            krings.keys.sorted {
                ($0.direction.rawValue, $0.index) > ($1.direction.rawValue, $1.index)
            }.map(describe)
        )
    }

    private func describe(_ ring: RingNumber) -> JSONValue {
        var object: JSONObject = [
            "direction": ring.direction == .transmit ? "tx" : "rx",
            "ring": .integer(ring.index),
            "slots": .integer(adapter.slots(ring.direction)),
            "descriptors": .integer(kicks(of: ring).count),
        ]
        guard let kring = unsafe shared(ring) else { return .object(object) }
        object["rejected"] = .count(UInt64(unsafe nm_load32(&kring.pointee.rejects)))
        object["drops"] = .count(unsafe nm_load64(&kring.pointee.drops))
        if case .pipe = adapter.kind, ring.direction == .transmit {
            object["packets"] = .count(unsafe nm_load64(&kring.pointee.packets))
            object["bytes"] = .count(unsafe nm_load64(&kring.pointee.bytes))
        }
        if let text = unsafe rejection(kring) { object["last-rejection"] = .string(text) }
        return .object(object)
    }

    /// Says which index made no sense, when that is new.
    func complain() {
        for index in 0..<2 * width {
            unsafe nm_store32(&plane.pointee.pairs[index].attention, 0)
        }
        for ring in krings.keys {
            guard let kring = unsafe shared(ring) else { continue }
            let count = unsafe nm_load32(&kring.pointee.rejects)
            guard count != rejected[ring] ?? 0 else { continue }
            rejected[ring] = count
            // A program that does it a thousand times a second is told of once.
            let now = nm_monotonic_seconds()
            guard now != lastComplaint else { continue }
            lastComplaint = now
            let name = ring.direction == .transmit ? "TX" : "RX"
            let why = unsafe rejection(kring) ?? "it made no sense"
            logger.warning(
                "a sync of \(name) ring \(ring.index) was rejected: \(why)",
                metadata: ["rejected": "\(count)"]
            )
        }
    }

    private func shared(_ ring: RingNumber) -> UnsafeMutablePointer<nm_kring>? {
        guard let file = adapter.control else { return nil }
        // SAFETY: the kring lies in the control file (Adapter's contract); a program may write to it,
        // so that each word is loaded once and only shown.
        let at = unsafe file.mapping.base + Int(NM_CONTROL_KRINGS)
        return unsafe (at + adapter.kring(ring) * Int(NM_KRING_SIZE))
            .assumingMemoryBound(to: nm_kring.self)
    }

    private func rejection(_ kring: UnsafeMutablePointer<nm_kring>) -> String? {
        let fault = unsafe nm_load32(&kring.pointee.fault)
        if fault == 0 { return nil }
        let names = ["", "head", "cur", "tail"]
        let name = names.indices.contains(Int(fault)) ? names[Int(fault)] : "an index"
        let value = unsafe nm_load32(&kring.pointee.fault_value)
        let low = unsafe nm_load32(&kring.pointee.fault_low)
        let high = unsafe nm_load32(&kring.pointee.fault_high)
        return "\(name) was \(value), not from \(low) to \(high)"
    }
}
