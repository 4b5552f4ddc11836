// How large the three pools of an allocator are (netmap-spec 1.8). Arithmetic only.

import Glibc

/// What an allocator is asked to hold: sizes in bytes, and how many.
package struct PoolSizes: Equatable, Sendable {
    package var interfaceSize: Int
    package var interfaceCount: Int
    package var ringSize: Int
    package var ringCount: Int
    /// Bytes a buffer, and the stride between buffers.
    package var bufferSize: Int
    package var bufferCount: Int

    package init(
        interfaces: (size: Int, count: Int),
        rings: (size: Int, count: Int),
        buffers: (size: Int, count: Int)
    ) {
        (interfaceSize, interfaceCount) = interfaces
        (ringSize, ringCount) = rings
        (bufferSize, bufferCount) = buffers
    }

    /// The allocator that all interfaces share.
    package static let global = PoolSizes(
        interfaces: (1024, 100),
        rings: (36864, 200),
        buffers: (2048, 163_840)
    )
    /// The least that a port's own allocator has.
    package static let privateMinimum = PoolSizes(
        interfaces: (1024, 2),
        rings: (20480, 4),
        buffers: (2048, 4098)
    )
}

/// Where the pools of an allocator are: interfaces, then rings, then buffers.
package struct PoolGeometry: Equatable, Sendable {
    /// Objects of one size, side by side.
    package struct Pool: Equatable, Sendable {
        package let objectSize: Int
        package let count: Int
        package var byteCount: Int { objectSize * count }
    }

    package let interfaces: Pool
    package let rings: Pool
    package let buffers: Pool

    package var ringOffset: Int { interfaces.byteCount }
    package var bufferOffset: Int { interfaces.byteCount + rings.byteCount }
    /// Bytes that a program maps (nr_memsize): whole pages, but for memory brought along.
    package var byteCount: Int { bufferOffset + buffers.byteCount }

    /// Rounds sizes up to what the layout needs.
    ///
    /// - Throws: EINVAL for what is out of bounds.
    package init(_ sizes: PoolSizes, isGlobal: Bool) throws(NetmapError) {
        interfaces = try Self.pool(
            "netmap_if",
            (sizes.interfaceSize, 56...4096),
            (sizes.interfaceCount, isGlobal ? 10...10000 : 1...100)
        )
        rings = try Self.pool("ring", (sizes.ringSize, 256...131_072), (sizes.ringCount, 2...1024))
        buffers = try Self.pool(
            "buffer",
            (sizes.bufferSize, 64...65536),
            (sizes.bufferCount, 4...1_000_000)
        )
    }

    /// Pools within `byteCount` bytes that somebody else brings: what is left becomes buffers.
    ///
    /// They lie side by side, as many objects as were asked for: its owner has counted them.
    ///
    /// - Throws: EINVAL for what is out of bounds, ENOMEM if there is not enough.
    package init(_ sizes: PoolSizes, within byteCount: Int) throws(NetmapError) {
        let rounded = try PoolGeometry(sizes, isGlobal: false)
        interfaces = Pool(
            objectSize: rounded.interfaces.objectSize,
            count: sizes.interfaceCount
        )
        rings = Pool(objectSize: rounded.rings.objectSize, count: sizes.ringCount)
        let size = rounded.buffers.objectSize
        let needed = interfaces.byteCount + rings.byteCount + size * sizes.bufferCount
        guard needed <= byteCount else {
            throw NetmapError(
                ENOMEM,
                "the memory brought along has \(byteCount) bytes, but the pools asked for need "
                    + "\(needed); bring more, or ask for fewer buffers or rings"
            )
        }
        let room = byteCount - interfaces.byteCount - rings.byteCount
        buffers = Pool(
            objectSize: size,
            count: max(sizes.bufferCount, min(room / size, 1_000_000))
        )
    }

    /// Pools for a port of its own.
    ///
    /// - Parameters:
    ///   - port: its rings.
    ///   - pipes: how many pipes are expected to hang on it.
    ///   - extraBuffers: buffers beyond those of its rings.
    ///   - minimum: what it has at least.
    /// - Throws: ENOMEM for more than an allocator can hold.
    package init(
        for port: RingGeometry,
        pipes: Int,
        extraBuffers: Int,
        minimum: PoolSizes
    ) throws(NetmapError) {
        // Host rings that do not exist count as one a direction.
        let transmit = port.transmitRings + max(1, port.hostTransmitRings)
        let receive = port.receiveRings + max(1, port.hostReceiveRings)
        var sizes = minimum
        sizes.interfaceSize = max(sizes.interfaceSize, 56 + 8 * (transmit + receive))
        sizes.interfaceCount = max(sizes.interfaceCount, 2 + 4 * pipes)
        let slots = max(port.transmitSlots, port.receiveSlots)
        sizes.ringSize = max(sizes.ringSize, 256 + 16 * slots)
        if Self.cluster(sizes.ringSize) * sizes.ringSize > Self.largestCluster {
            sizes.ringSize = (sizes.ringSize + 4095) & ~4095
        }
        sizes.ringCount = max(sizes.ringCount, transmit + receive + 8 * pipes)
        sizes.bufferCount = max(
            sizes.bufferCount,
            (4 * pipes + receive) * port.receiveSlots + (4 * pipes + transmit) * port.transmitSlots
                + 2 + extraBuffers
        )
        do throws(NetmapError) {
            try self.init(sizes, isGlobal: false)
        } catch {
            throw NetmapError(ENOMEM, "a port of that size has no room: \(error.description)")
        }
    }

    private static let largestCluster = 4 << 20

    /// How many objects fill whole pages together.
    private static func cluster(_ size: Int) -> Int {
        let rounded = (size + 63) & ~63
        return 4096 / min(4096, rounded & -rounded)
    }

    private static func pool(
        _ what: String,
        _ size: (value: Int, bounds: ClosedRange<Int>),
        _ count: (value: Int, bounds: ClosedRange<Int>)
    ) throws(NetmapError) -> Pool {
        guard size.bounds.contains(size.value) else {
            throw NetmapError(
                EINVAL,
                "a \(what) object of \(size.value) bytes is impossible; "
                    + "\(size.bounds.lowerBound) to \(size.bounds.upperBound) are possible"
            )
        }
        guard count.bounds.contains(count.value) else {
            throw NetmapError(
                EINVAL,
                "\(count.value) \(what) objects are impossible; "
                    + "\(count.bounds.lowerBound) to \(count.bounds.upperBound) are possible"
            )
        }
        let rounded = (size.value + 63) & ~63
        let cluster = cluster(rounded)
        guard cluster * rounded <= largestCluster else {
            throw NetmapError(
                EINVAL,
                "\(what) objects of \(rounded) bytes fill whole pages only in groups of \(cluster), "
                    + "which is more than 4 MiB; a multiple of 128 needs half"
            )
        }
        let clusters = (count.value + cluster - 1) / cluster
        return Pool(objectSize: rounded, count: clusters * cluster)
    }
}
