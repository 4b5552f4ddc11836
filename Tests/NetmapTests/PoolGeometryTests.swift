// Sizes of pools: the worked examples of netmap-spec 1.8.

import Glibc
@testable import Netmap
import Testing

@Suite("Pools")
struct PoolGeometryTests {
    static func port(_ rings: Int, slots: Int) -> RingGeometry {
        var port = RingGeometry()
        (port.transmitRings, port.receiveRings) = (rings, rings)
        (port.transmitSlots, port.receiveSlots) = (slots, slots)
        return port
    }

    static func pools(_ rings: Int, slots: Int, pipes: Int = 2, extra: Int = 0) throws
        -> PoolGeometry
    {
        try PoolGeometry(
            for: port(rings, slots: slots),
            pipes: pipes,
            extraBuffers: extra,
            minimum: .privateMinimum
        )
    }

    @Test("of all interfaces together take what pkt-gen prints")
    func global() throws {
        let pools = try PoolGeometry(.global, isGlobal: true)
        #expect(pools.byteCount == 343_019_520)
        #expect(pools.ringOffset == 102_400)
    }

    @Test("of a switch's port are as large as in the worked examples")
    func ofPorts() throws {
        let standard = try Self.pools(1, slots: 1024)
        #expect(standard.interfaces.count == 12 && standard.interfaces.objectSize == 1024)
        #expect(standard.rings.count == 20 && standard.rings.objectSize == 20480)
        #expect(standard.buffers.count == 20482 && standard.buffers.objectSize == 2048)
        #expect(standard.byteCount == 42_369_024)
        #expect(try Self.pools(4, slots: 1024).byteCount == 55_074_816)
        #expect(try Self.pools(1, slots: 256).byteCount == 10_911_744)
        #expect(try Self.pools(16, slots: 4096).byteCount == 423_657_472)
        #expect(try Self.pools(1, slots: 1024, pipes: 0).byteCount == 8_478_720, "copy monitor")
    }

    @Test("can be had for each number of rings and slots that a port can have")
    func allSizes() throws {
        for slots in 1...4096 {
            let pools = try Self.pools(1, slots: slots)
            #expect(pools.rings.objectSize >= 256 + 16 * slots)
            #expect(pools.rings.byteCount % 4096 == 0 && pools.buffers.byteCount % 4096 == 0)
        }
        let most = try Self.pools(16, slots: 4096, extra: 128 * 4096)
        #expect(most.buffers.count >= 25 * 4096 * 2 + 2 + 128 * 4096)
    }

    @Test(
        "round objects up to 64 bytes and their number up to whole pages",
        arguments: [2112, 64, 100]
    )
    func rounding(size: Int) throws {
        var sizes = PoolSizes.privateMinimum
        sizes.bufferSize = size
        let pools = try PoolGeometry(sizes, isGlobal: false)
        #expect(pools.buffers.objectSize == (size + 63) / 64 * 64)
        #expect(pools.buffers.count >= 4098 && pools.buffers.byteCount % 4096 == 0)
    }

    @Test("out of bounds are refused, each with its sentence")
    func bounds() {
        func errno(_ isGlobal: Bool, _ change: (inout PoolSizes) -> Void) -> Int32 {
            var sizes = isGlobal ? PoolSizes.global : .privateMinimum
            change(&sizes)
            do throws(NetmapError) {
                _ = try PoolGeometry(sizes, isGlobal: isGlobal)
                return 0
            } catch {
                return error.errno
            }
        }
        #expect(errno(false) { $0.interfaceSize = 55 } == EINVAL)
        #expect(errno(false) { $0.interfaceCount = 101 } == EINVAL)
        #expect(errno(true) { $0.interfaceCount = 9 } == EINVAL)
        #expect(errno(true) { $0.interfaceCount = 101 } == 0)
        #expect(errno(false) { $0.ringSize = 131_073 } == EINVAL)
        #expect(errno(false) { $0.ringCount = 1025 } == EINVAL)
        #expect(errno(false) { $0.bufferSize = 65537 } == EINVAL)
        #expect(errno(false) { $0.bufferSize = 63 } == EINVAL)
        #expect(errno(false) { $0.bufferCount = 1_000_001 } == EINVAL)
        #expect(errno(false) { $0.ringSize = 65600 } == EINVAL, "a cluster of more than 4 MiB")
        #expect(errno(false) { $0.ringSize = .max } == EINVAL)
        #expect(errno(false) { $0.bufferCount = .min } == EINVAL)
    }

    @Test("in memory brought along turn what is left into buffers")
    func within() throws {
        let sizes = PoolSizes(interfaces: (1024, 2), rings: (512, 64), buffers: (4096, 2048))
        let needed = 2 * 1024 + 64 * 512 + 2048 * 4096
        let exact = try PoolGeometry(sizes, within: needed)
        #expect(exact.byteCount == needed && exact.buffers.count == 2048)
        #expect(exact.interfaces.count == 2 && exact.ringOffset == 2048)
        let pools = try PoolGeometry(sizes, within: needed + 3 * 4096 + 4095)
        #expect(pools.buffers.count == 2048 + 3 && pools.byteCount == needed + 3 * 4096)
        do throws(NetmapError) {
            _ = try PoolGeometry(sizes, within: needed - 1)
            Issue.record("too little")
        } catch {
            #expect(error.errno == ENOMEM)
        }
        let huge = try PoolGeometry(sizes, within: .max)
        #expect(huge.buffers.count <= 1_000_000)
    }

    @Test("hand numbers out lowest first, and each once")
    func numbers() {
        var pool = ObjectPool(count: 130, reserved: 2)
        var taken: [Int] = []
        while let number = pool.allocate() { taken.append(number) }
        #expect(taken == Array(2..<130) && pool.available == 0)
        let wrong = [Int.min, -1, 0, 1, 130, 191, Int.max].map { pool.release($0) }
        #expect(!wrong.contains(true))
        let right = [77, 77, 64].map { pool.release($0) }
        #expect(right == [true, false, true] && pool.available == 2)
        let again = (0..<3).map { _ in pool.allocate() }
        #expect(again == [64, 77, nil])
    }
}
