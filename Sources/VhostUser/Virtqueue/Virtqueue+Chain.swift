// Descriptor chains: the part of a virtqueue where guests attack first (vhost-user-spec 2.10).

public import CNetmap
public import Netmap

/// What walking a chain yielded.
public struct Chain: BitwiseCopyable, Sendable {
    @usableFromInline var segments: Int
    @usableFromInline var bytes: Int
    /// Descriptors that the chain takes on the ring; 0 if it is not a chain.
    @usableFromInline var descriptors: Int
    @usableFromInline var id: UInt16

    @_noLocks @inlinable init(segments: Int, bytes: Int, descriptors: Int, id: UInt16) {
        self.segments = segments
        self.bytes = bytes
        self.descriptors = descriptors
        self.id = id
    }

    @inlinable var isValid: Bool { @_noLocks get { descriptors != 0 } }
}

extension Virtqueue where Format: ~Copyable {
    /// Walks the chain at `position` and writes its pieces to `out`.
    ///
    /// Each descriptor is loaded once as two words. The walk ends after as many descriptors as any
    /// table has entries, so a loop is found; a buffer that crosses memory regions becomes several
    /// pieces (CVE-2018-1059 assumed that it does not). A fault stops the queue.
    ///
    /// - Parameters:
    ///   - position: where the chain begins.
    ///   - writable: whether the descriptors must be device-writable (receive) or readable (transmit).
    ///   - out: where the pieces go.
    ///   - capacity: how many segments `out` has room for.
    /// - Returns: how many pieces and bytes, and what to return the chain with.
    @inlinable @inline(never)
    mutating func walk(
        _ position: RingPosition,
        writable: Bool,
        into out: UnsafeMutablePointer<Segment>,
        capacity: Int
    ) -> Chain {
        var chain = Chain(segments: 0, bytes: 0, descriptors: 0, id: 0)
        let size = Int(ring.size)
        let head = ring.head(position)
        var index = Int(head)
        var descriptors = 0
        while true {
            guard index < size else { return reject(.descriptorIndex) }
            guard descriptors < size else { return reject(.chainLength) }
            let descriptor = ring.descriptor(index)
            let flags = Format.flags(descriptor)
            let tag = Format.tag(descriptor)
            descriptors += 1
            if flags & 4 != 0 {
                // INDIRECT: a table replaces the rest of the chain; its own WRITE flag says nothing.
                // Drivers may put direct descriptors before it (virtio 1.2, 2.7.5.3), not behind.
                let good =
                    unsafe flags & 1 == 0
                    && walkTable(descriptor, writable: writable, into: out, capacity, &chain)
                guard good else { return reject(.indirect) }
            } else {
                guard (flags & 2 != 0) == writable else { return reject(.direction) }
                guard
                    unsafe append(
                        descriptor.address,
                        descriptor.length,
                        isWrite: writable,
                        to: out,
                        capacity,
                        &chain
                    )
                else { return reject(.address) }
            }
            if flags & 1 == 0 {
                chain.descriptors = descriptors
                chain.id = Format.identifier(head: head, lastTag: tag)
                return chain
            }
            index = ring.successor(inRing: index, tag: tag)
        }
    }

    /// Adds the pieces of an indirect table.
    ///
    /// - Returns: false if the table makes no sense; a more exact fault may be noted already.
    @inlinable
    mutating func walkTable(
        _ descriptor: Descriptor,
        writable: Bool,
        into out: UnsafeMutablePointer<Segment>,
        _ capacity: Int,
        _ chain: inout Chain
    ) -> Bool {
        let entries = descriptor.length / NM_VRING_DESC_SIZE
        guard entries > 0, entries <= FrameBatch.segmentsPerFrame,
            descriptor.length % NM_VRING_DESC_SIZE == 0
        else { return false }
        var index = 0
        for _ in 0..<entries {
            // Found one by one: the table may lie across regions.
            guard
                let cell = unsafe translate(
                    descriptor.address &+ UInt64(index &* NM_VRING_DESC_SIZE),
                    NM_VRING_DESC_SIZE,
                    isWrite: false
                )
            else {
                fail(.address)
                return false
            }
            // SAFETY: sixteen bytes inside the guest's memory.
            let entry = unsafe Descriptor(address: nm_load64(cell), word: nm_load64(cell + 8))
            let flags = Format.flags(entry)
            guard flags & 4 == 0 else { return false }
            guard (flags & 2 != 0) == writable else {
                fail(.direction)
                return false
            }
            guard
                unsafe append(
                    entry.address,
                    entry.length,
                    isWrite: writable,
                    to: out,
                    capacity,
                    &chain
                )
            else {
                fail(.address)
                return false
            }
            if Format.tablesAreLinked {
                if flags & 1 == 0 { return true }
            } else if index &+ 1 == entries {
                return true
            }
            index = Format.successor(inTable: index, tag: Format.tag(entry))
            guard index < entries else {
                fail(.descriptorIndex)
                return false
            }
        }
        fail(.chainLength)
        return false
    }

    /// Adds a buffer, in as many pieces as it touches regions.
    @inlinable
    mutating func append(
        _ address: UInt64,
        _ length: Int,
        isWrite: Bool,
        to out: UnsafeMutablePointer<Segment>,
        _ capacity: Int,
        _ chain: inout Chain
    ) -> Bool {
        var at = address
        var left = length
        while left > 0 {
            guard chain.segments < capacity else {
                fail(.chainLength)
                return false
            }
            var piece = left
            var host = unsafe translate(at, piece, isWrite: isWrite)
            if unsafe host == nil {
                piece = min(left, contiguous(at, isWrite: isWrite))
                unsafe host = piece > 0 ? unsafe translate(at, piece, isWrite: isWrite) : nil
            }
            guard let host = unsafe host else { return false }
            // SAFETY: below `capacity`.
            unsafe out[chain.segments] = unsafe Segment(address: host, length: piece)
            chain.segments += 1
            at = at &+ UInt64(piece)
            left -= piece
        }
        chain.bytes += length
        return true
    }

    @inlinable
    mutating func reject(_ fault: QueueFault) -> Chain {
        fail(fault)
        return Chain(segments: 0, bytes: 0, descriptors: 0, id: 0)
    }
}
