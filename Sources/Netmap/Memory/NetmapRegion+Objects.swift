// Objects in a region as programs see them (netmap-spec 1.4). What is written here is read by programs
// only; what decides is kept in private.

import CNetmap

extension NetmapRegion {
    /// Bytes of a ring's object that `slots` need.
    static func ringLength(slots: Int) -> Int { NM_RING_SLOTS + slots * NM_SLOT_SIZE }

    /// Bytes of an interface's object that `rings` need.
    static func interfaceLength(rings: Int) -> Int { NM_IF_RING_OFS + 8 * rings }

    /// Takes `count` buffers, which the caller knows to be there.
    func takeBuffers(_ count: Int) -> [Int] {
        var taken: [Int] = []
        taken.reserveCapacity(count)
        while taken.count < count, let number = buffers.allocate() { taken.append(number) }
        return taken
    }

    /// Makes a ring whose slots have `contents` as their buffers.
    ///
    /// - Returns: where it is, or nil if there is no object left.
    func makeRing(_ ring: RingNumber, contents: [Int]) -> Int? {
        guard let number = rings.allocate() else { return nil }
        let at = geometry.ringOffset + number * geometry.rings.objectSize
        clear(at, NM_RING_SLOTS)
        store64(bufferOffset - at, at + NM_RING_BUF_OFS)
        store32(contents.count, at + NM_RING_NUM_SLOTS)
        store32(bufferSize, at + NM_RING_BUF_SIZE)
        store16(ring.index, at + NM_RING_RINGID)
        store16(ring.direction == .transmit ? 1 : 0, at + NM_RING_DIR)
        store32(ring.firstTail(slots: contents.count), at + NM_RING_TAIL)
        var slot = at + NM_RING_SLOTS
        for buffer in contents {
            store32(buffer, slot + NM_SLOT_BUF_IDX)
            store16(bufferSize, slot + NM_SLOT_LEN)
            store16(0, slot + NM_SLOT_FLAGS)
            store64(0, slot + NM_SLOT_PTR)
            slot += NM_SLOT_SIZE
        }
        return at
    }

    /// The buffer that slot `index` of the ring at `offset` names, whatever that is.
    func buffer(inSlot index: Int, ofRing offset: Int) -> Int {
        Int(load32(offset + NM_RING_SLOTS + index * NM_SLOT_SIZE + NM_SLOT_BUF_IDX))
    }

    /// Frees a ring's object, not its buffers.
    func releaseRing(_ offset: Int) {
        rings.release((offset - geometry.ringOffset) / geometry.rings.objectSize)
    }

    /// Makes the netmap_if of a descriptor.
    ///
    /// - Parameters:
    ///   - name: cut to 15 characters.
    ///   - port: what the port has.
    ///   - isPrivate: whether the region is not the one that interfaces share.
    ///   - rings: the port's in the order of ring_ofs; nil where the descriptor has none.
    /// - Returns: where it is, or nil if there is no object left.
    func makeInterface(
        name: String,
        geometry port: RingGeometry,
        isPrivate: Bool,
        rings: [Int?]
    ) -> Int? {
        guard let number = interfaces.allocate() else { return nil }
        let at = number * geometry.interfaces.objectSize
        clear(at, Self.interfaceLength(rings: rings.count))
        for (place, byte) in name.utf8.prefix(15).enumerated() {
            store8(byte, at + NM_IF_NAME + place)
        }
        store32(isPrivate ? Int(NI_PRIV_MEM) : 0, at + NM_IF_FLAGS)
        store32(port.transmitRings, at + NM_IF_TX_RINGS)
        store32(port.receiveRings, at + NM_IF_RX_RINGS)
        store32(max(1, port.hostTransmitRings), at + NM_IF_HOST_TX_RINGS)
        store32(max(1, port.hostReceiveRings), at + NM_IF_HOST_RX_RINGS)
        for (place, ring) in rings.enumerated() {
            store64(ring.map { $0 - at } ?? 0, at + NM_IF_RING_OFS + 8 * place)
        }
        return at
    }

    /// Frees a netmap_if.
    func releaseInterface(_ offset: Int) {
        interfaces.release(offset / geometry.interfaces.objectSize)
    }

    /// Gives up to `count` buffers to the netmap_if at `offset`, as a list of which each element's
    /// first word names the next.
    ///
    /// - Returns: how many there were.
    func makeExtraBuffers(_ count: Int, interface offset: Int) -> Int {
        var head = 0
        var granted = 0
        while granted < count, let number = buffers.allocate() {
            store32(head, bufferOffset + number * bufferSize)
            head = number
            granted += 1
        }
        store32(head, offset + NM_IF_BUFS_HEAD)
        return granted
    }

    /// Frees the list that the program left in its netmap_if.
    ///
    /// Ends at the first number that is none of a buffer in use, so also where it began to go round.
    func releaseExtraBuffers(interface offset: Int) {
        var number = Int(load32(offset + NM_IF_BUFS_HEAD))
        while buffers.isInUse(number) {
            let next = Int(load32(bufferOffset + number * bufferSize))
            buffers.release(number)
            number = next
        }
    }
}

extension RingNumber {
    /// Where `tail` begins: the program has all slots but one, or none.
    func firstTail(slots: Int) -> Int { direction == .transmit ? max(0, slots - 1) : 0 }
}
