// The rest of a device: its configuration, and where it is noted how far its rings came.

import Netmap

extension Session {
    /// GET_CONFIG: a part of the configuration, or nothing for what is not a part of it.
    func getConfiguration(
        _ payload: inout Payload,
        _ controller: some RingController
    ) throws(SessionError) -> Answer {
        guard let offset = payload.u32(), let size = payload.u32(), let flags = payload.u32(),
            payload.count == 12 + Int(size)
        else { throw SessionError("\(payload.count) bytes of configuration") }
        let all = controller.configuration()
        let (end, overflow) = offset.addingReportingOverflow(size)
        guard size > 0, !overflow, Int(end) <= all.count else { return Answer(payload: []) }
        var reply: [UInt8] = []
        for word in [offset, size, flags] { reply.append(little: word) }
        return Answer(payload: reply + all[Int(offset)..<Int(end)])
    }

    mutating func getInflight(
        _ payload: inout Payload,
        _ controller: inout some RingController
    ) throws(SessionError) -> Answer {
        let length = payload.count
        let (_, _, rings, entries) = try inflight(&payload)
        let made = try controller.makeInflight(rings: rings)
        var reply: [UInt8] = []
        for word in [made.size, 0] { reply.append(little: word) }
        for half in [UInt16(rings), entries] { reply.append(little: half) }
        reply += [UInt8](repeating: 0, count: length - reply.count)
        return Answer(payload: reply, file: made.file)
    }

    mutating func setInflight(
        _ payload: inout Payload,
        _ files: [OwnedDescriptor],
        _ controller: inout some RingController
    ) throws(SessionError) {
        let (size, offset, rings, _) = try inflight(&payload)
        try files.expect(1)
        try withRingsStopped(&controller) { (controller) throws(SessionError) in
            try controller.setInflight(files[0], rings: rings, size: size, offset: offset)
        }
    }

    /// The payload of both requests; some front-ends pad it to eight bytes.
    private func inflight(
        _ payload: inout Payload
    ) throws(SessionError) -> (size: UInt64, offset: UInt64, rings: Int, entries: UInt16) {
        guard [20, 24].contains(payload.count), let size = payload.u64(),
            let offset = payload.u64(), let rings = payload.u16(), let entries = payload.u16()
        else { throw SessionError("\(payload.count) bytes of inflight description") }
        guard rings > 0, rings <= 2 * Session.maximumQueuePairs else {
            throw SessionError("an inflight file for \(rings) rings")
        }
        return (size, offset, Int(rings), entries)
    }
}
