// What a port and the buffers that were taken out of it share: mappings, rings, the descriptor.

import CNetmap
import Glibc
import Synchronization

/// A bound descriptor with its memory, which unbinds with its last user.
@safe final class PortCore: @unchecked Sendable {
    // Unchecked: constant but for what is in shared memory, where every word is an atomic, and for the
    // theft of a dead holder's lock, in which a lost note costs 10 ms.

    let backend: any PortBackend
    let handle: PortHandle
    let binding: nm_attachment
    let region: Mapping
    private let control: Mapping
    /// Transmit rings, then receive rings.
    private let references: UnsafeMutablePointer<RingReference>
    let transmitRings: Range<Int>
    let receiveRings: Range<Int>
    /// Extra buffers that nobody has taken.
    private let extras: Mutex<[UInt32]>
    private let gone = Atomic<Bool>(false)
    /// Whether looking on before sleeping is worth while (PortCore+Patience).
    let isPatient = Atomic<Bool>(false)
    let isEmbedded: Bool
    /// Whether its rings' slots are moved by the other end of a pipe.
    let isPipe: Bool

    init(_ backend: any PortBackend, _ handle: PortHandle) throws(PortError) {
        let attachment = try backend.attach(handle)
        let binding = attachment.binding
        self.backend = backend
        self.handle = handle
        self.binding = binding
        isEmbedded = backend.isEmbedded
        region = attachment.region
        control = attachment.control
        let layout = ControlLayout(binding, attachment.region, attachment.control)
        guard let layout, let references = unsafe layout.references() else {
            throw PortError(
                .noEngine,
                errno: EPROTO,
                "the engine described a port that does not fit its own memory; "
                    + "is it of another version?"
            )
        }
        unsafe self.references = unsafe references
        transmitRings = Int(binding.tx_first)..<Int(binding.tx_end)
        receiveRings = Int(binding.rx_first)..<Int(binding.rx_end)
        let count = transmitRings.count + receiveRings.count
        isPipe = (0..<count).contains { unsafe references[$0].peerKring != nil }
        extras = Mutex(layout.extraBuffers())
    }

    deinit {
        giveExtrasBack()
        unsafe references.deallocate()
        backend.close(handle)
    }

    // SAFETY: an index below the count of rings that `references` was made for.
    func reference(_ ring: RingNumber) -> UnsafeMutablePointer<RingReference> {
        let isTransmit = ring.direction == .transmit
        let range = isTransmit ? transmitRings : receiveRings
        precondition(range.contains(ring.index), "the port has no such ring bound")
        let place = ring.index - range.lowerBound
        return unsafe references + (isTransmit ? place : transmitRings.count + place)
    }

    // MARK: Syncs

    /// How a sync ended.
    enum Outcome {
        case done
        case busy
        case fault
        case failed
        case stopped
    }

    /// Syncs one ring.
    func sync(_ ring: RingNumber, stamp: (Int64, Int64)? = nil) -> Outcome {
        let reference = unsafe reference(ring)
        var step = unsafe reference.pointee.begin()
        if step == .busy {
            guard unsafe reference.pointee.unlockForTheDead() else { return .busy }
            step = unsafe reference.pointee.begin()
        }
        switch step {
        case .nothing: return .done
        case .busy: return .busy
        case .fault:
            // So that the engine says in its log which index was wrong.
            if !isEmbedded { backend.work(handle, ring) }
            return .fault
        case .failed: return .failed
        case .stopped: return .stopped
        case .published: break
        case .publishedToSleeper: unsafe wake(reference, ring)
        }
        unsafe reference.pointee.finish(stamp: stamp)
        return .done
    }

    private func wake(_ reference: UnsafeMutablePointer<RingReference>, _ ring: RingNumber) {
        if !isEmbedded {
            let kicked = unsafe reference.pointee.kring + Int(NM_KRING_KICKED)
            if unsafe nm_load32(kicked) != 0 { return }  // one is on its way
            unsafe nm_store32(kicked, 1)
        }
        backend.work(handle, ring)
    }

    /// Seconds and microseconds of the clock on the wall.
    static var stamp: (Int64, Int64) {
        var now = timeval()
        unsafe gettimeofday(&now, nil)
        return (Int64(now.tv_sec), Int64(now.tv_usec))
    }

    // MARK: The descriptor

    /// Throws once the engine has closed its end.
    func requireEngine() throws(PortError) {
        guard gone.load(ordering: .relaxed) else { return }
        throw PortError(
            .engineGone,
            errno: ENXIO,
            "the engine of this port has ended; start it again and open the port once more"
        )
    }

    /// Takes the bytes that woke us.
    func drain() {
        var bytes: (UInt64, UInt64) = (0, 0)
        for _ in 0..<256 {
            let count = unsafe recv(handle.socket.number, &bytes, 16, Int32(MSG_DONTWAIT))
            if count == 0 || count < 0 && errno != EAGAIN && errno != EINTR {
                gone.store(true, ordering: .relaxed)
            }
            if count <= 0 { break }
        }
        for index in 0..<transmitRings.count + receiveRings.count {
            unsafe references[index].disarm()
        }
        nm_fence()
    }

    // MARK: Extra buffers

    func takeExtra() -> UInt32? { extras.withLock { $0.popLast() } }
    func putExtra(_ index: UInt32) { extras.withLock { $0.append(index) } }
    var extraCount: Int { extras.withLock { $0.count } }

    /// Leaves the list where the engine looks for it when the port is unbound.
    private func giveExtrasBack() {
        let list = extras.withLock { $0 }
        guard binding.region_size > 0 else { return }
        var head: UInt32 = 0
        for index in list {
            unsafe nm_store32(buffer(index), head)
            head = index
        }
        // SAFETY: the netmap_if was checked against the region (ControlLayout).
        unsafe nm_store32(region.base + Int(binding.nifp_offset) + NM_IF_BUFS_HEAD, head)
    }

    /// Bytes a buffer.
    var bufferSize: Int { Int(binding.buffer_size) }
    /// Where buffers begin.
    var buffers: UnsafeMutableRawPointer { unsafe region.base + Int(binding.buffer_offset) }

    /// Where a buffer begins.
    func buffer(_ index: UInt32) -> UnsafeMutableRawPointer {
        precondition(index < binding.buffer_count)
        return unsafe region.base + Int(binding.buffer_offset)
            + Int(index) * Int(binding.buffer_size)
    }
}

/// Checks what an engine says about a port's memory, once.
private struct ControlLayout {
    let binding: nm_attachment
    let region: Mapping
    let control: Mapping

    init?(_ binding: nm_attachment, _ region: Mapping, _ control: Mapping) {
        self.binding = binding
        self.region = region
        self.control = control
        let krings = (control.length - Int(NM_CONTROL_KRINGS)) / Int(NM_KRING_SIZE)
        let buffers = Int(binding.buffer_count).multipliedReportingOverflow(
            by: Int(binding.buffer_size)
        )
        guard control.length >= Int(NM_CONTROL_KRINGS),
            unsafe nm_load64(control.base) == NM_CONTROL_MAGIC,
            unsafe nm_load32(control.base + 8) == UInt32(NM_WIRE_VERSION),
            binding.tx_first <= binding.tx_end, binding.rx_first <= binding.rx_end,
            Int(binding.tx_base) + Int(binding.tx_end) <= krings,
            Int(binding.rx_base) + Int(binding.rx_end) <= krings,
            binding.buffer_size > 0, !buffers.overflow,
            let offset = Int(exactly: binding.buffer_offset), offset <= region.length,
            buffers.partialValue <= region.length - offset,
            let interface = Int(exactly: binding.nifp_offset),
            interface <= region.length - MemoryLayout<netmap_if>.size
        else { return nil }
    }

    private func kring(_ number: Int) -> UnsafeMutableRawPointer {
        // SAFETY: `init` checked the numbers of bound rings; `peer` checks the others.
        unsafe control.base + Int(NM_CONTROL_KRINGS) + number * Int(NM_KRING_SIZE)
    }

    /// Where the ring of a kring is; nil if that is not inside the region.
    private func ring(_ kring: UnsafeMutableRawPointer, _ slots: UInt32) -> UnsafeMutableRawPointer?
    {
        let length = NM_RING_SLOTS + Int(slots) * NM_SLOT_SIZE
        guard let offset = Int(exactly: unsafe nm_load64(kring + Int(NM_KRING_RING))),
            offset > 0, offset % 8 == 0, length <= region.length,
            offset <= region.length - length
        else { return nil }
        return unsafe region.base + offset
    }

    func references() -> UnsafeMutablePointer<RingReference>? {
        let transmit = (binding.tx_first..<binding.tx_end).map {
            (RingNumber(.transmit, Int($0)), Int(binding.tx_base + $0))
        }
        let receive = (binding.rx_first..<binding.rx_end).map {
            (RingNumber(.receive, Int($0)), Int(binding.rx_base + $0))
        }
        let all = transmit + receive
        let references = UnsafeMutablePointer<RingReference>.allocate(capacity: max(1, all.count))
        for (place, (number, index)) in all.enumerated() {
            let kring = unsafe kring(index)
            let slots = unsafe nm_load32(kring + Int(NM_KRING_SLOTS))
            let ring = unsafe slots > 0 ? ring(kring, slots) : nil
            if slots > 0, unsafe ring == nil {
                unsafe references.deallocate()
                return nil
            }
            unsafe (references + place).initialize(
                to: RingReference(
                    ring: ring,
                    kring: kring,
                    peer: peer(kring, slots),
                    slots: slots,
                    isTransmit: number.direction == .transmit,
                    bufferCount: binding.buffer_count,
                    bufferSize: binding.buffer_size,
                    complaints: control.base + Int(NM_CONTROL_COMPLAINTS)
                )
            )
        }
        return unsafe references
    }

    private func peer(
        _ own: UnsafeMutableRawPointer,
        _ slots: UInt32
    ) -> (ring: UnsafeMutableRawPointer, kring: UnsafeMutableRawPointer)? {
        guard unsafe nm_load32(own + Int(NM_KRING_MODE)) == UInt32(NM_KRING_PIPE) else {
            return nil
        }
        let krings = (control.length - Int(NM_CONTROL_KRINGS)) / Int(NM_KRING_SIZE)
        let number = unsafe Int(nm_load32(own + Int(NM_KRING_PEER)))
        guard number < krings else { return nil }
        let other = unsafe kring(number)
        // A pipe's slots go to the same index on the other side.
        guard unsafe nm_load32(other + Int(NM_KRING_SLOTS)) == slots,
            let ring = unsafe ring(other, slots)
        else { return nil }
        return unsafe (ring, other)
    }

    /// The list that the engine left in the netmap_if.
    func extraBuffers() -> [UInt32] {
        var list: [UInt32] = []
        // SAFETY: netmap_if and buffers were checked in `init`; a number is checked before it is used.
        var index = unsafe nm_load32(
            region.base + Int(binding.nifp_offset) + NM_IF_BUFS_HEAD
        )
        while index >= 2, index < binding.buffer_count, list.count < Int(binding.buffer_count) {
            list.append(index)
            index = unsafe nm_load32(
                region.base + Int(binding.buffer_offset) + Int(index) * Int(binding.buffer_size)
            )
        }
        return list.reversed()
    }
}
