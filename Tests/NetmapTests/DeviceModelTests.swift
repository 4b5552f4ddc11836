// Random programs against a device: whatever they ask for, nothing is handed out twice and nothing stays.

import CNetmap
import Glibc
@testable import Netmap
import TestSupport
import Testing

@Suite("A device")
struct DeviceModelTests {
    static let names = [
        "nm0", "per0", "per1", "vale0:a", "vale0:b", "vale1:a", "vale0:a{1", "vale0:a}1", "nm0{x",
        "nm0}x", "foo{1", "foo}1", "foo{2", "vale0:per0", "per0{1", "vale0:a{1{2",
    ]

    static func registration(_ random: inout Seeded) -> nmreq_register {
        let modes = [1, 1, 1, 1, 2, 3, 4, 7, 8]
        let flags: [Int32] = [
            0, 0, 0, NR_EXCLUSIVE, NR_RX_RINGS_ONLY, NR_TX_RINGS_ONLY, NR_MONITOR_RX, NR_MONITOR_TX,
            NR_ZCOPY_MON, NR_ACCEPT_VNET_HDR,
        ]
        let rings = UInt16(random.below(4))
        let memory = [0, 0, 0, 1, 2, 3, 4, 5][random.below(8)]
        return DeviceClient.registration(
            mode: modes[random.below(modes.count)],
            ring: random.below(2),
            flags: flags[random.below(flags.count)],
            memory: UInt16(memory),
            extra: UInt32(random.below(3) * 40)
        ) {
            ($0.nr_tx_rings, $0.nr_rx_rings) = (rings, UInt16(random.below(4)))
            ($0.nr_tx_slots, $0.nr_rx_slots) = (
                [0, 7, 64][random.below(3)], [0, 3, 64][random.below(3)]
            )
            $0.nr_host_tx_rings = UInt16(random.below(3))
        }
    }

    /// No buffer is in two places, and what is in a place is in use.
    static func checkBuffers(_ client: DeviceClient, _ open: [DescriptorNumber]) throws {
        var places: [UInt32: [Int: Int]] = [:]
        var seen: Set<[Int]> = []
        for number in open {
            guard try client.attachment(number).region_size > 0 else { continue }
            let memory = try client.memory(number)
            let id = memory.attachment.mem_id
            for buffer in memory.extraBuffers { places[id, default: [:]][buffer, default: 0] += 1 }
            let count = memory.places.count
            for place in 0..<count where memory.places[place] != 0 {
                let ring = memory.interface + memory.places[place]
                let isTransmit = memory.load16(ring + 18) == 1
                #expect(isTransmit == (place < memory.txRings + memory.hostTxRings))
                let adapter = client.device.descriptors[number]?.binding?.adapter
                // A pipe's buffers are counted where its frames come from.
                if adapter?.peer != nil, !isTransmit { continue }
                let key = [Int(id), ring, -1]
                guard seen.insert(key).inserted else { continue }
                for buffer in memory.buffers(ring) {
                    places[id, default: [:]][buffer, default: 0] += 1
                }
            }
        }
        for (id, buffers) in places {
            #expect(buffers.values.allSatisfy { $0 == 1 }, "memory \(id)")
            #expect(buffers.keys.allSatisfy { $0 >= 2 })
        }
    }

    @Test("keeps its books under random requests, and ends with nothing", arguments: 0..<12)
    func random(seed: Int) throws {
        var random = Seeded(seed)
        let client = try DeviceClient.withInterface()
        var open: [DescriptorNumber] = []
        var succeeded = 0
        for step in 0..<250 {
            let name = Self.names[random.below(Self.names.count)]
            switch random.below(12) {
            case 0..<6:
                let number = client.open()
                open.append(number)
                if try client.register(number, name, Self.registration(&random)).errno == 0 {
                    succeeded += 1
                }
            case 6..<9:
                guard !open.isEmpty else { continue }
                client.close(open.remove(at: random.below(open.count)))
            case 9:
                _ = try client.ask(NETMAP_REQ_VALE_NEWIF, name, nmreq_vale_newif())
                _ = try client.ask(NETMAP_REQ_PORT_INFO_GET, name, nmreq_port_info_get())
            case 10:
                let place = "vale\(random.below(2)):\(["per0", "per1", "nm0"][random.below(3)])"
                _ = try DeviceValeTests.attachErrno(client, place) {
                    if random.chance(50) { $0.reg.nr_mode = UInt32(NR_REG_NIC_SW) }
                }
            default:
                let place = "vale\(random.below(2)):\(["per0", "per1", "nm0"][random.below(3)])"
                _ = try DeviceValeTests.detach(client, place)
                _ = try DeviceValeTests.delete(client, name)
            }
            if step % 25 == 0 { try Self.checkBuffers(client, open) }
        }
        try Self.checkBuffers(client, open)
        #expect(succeeded > 10)
        while !open.isEmpty { client.close(open.remove(at: random.below(open.count))) }
        for _ in 0..<2 {
            for name in ["nm0", "per0", "per1"] {
                for vale in ["vale1", "vale0"] {
                    _ = try DeviceValeTests.detach(client, "\(vale):\(name)")
                }
            }
        }
        for name in ["per0", "per1", "foo"] { _ = try DeviceValeTests.delete(client, name) }
        let named = client.device.adapters.filter { !$0.isInterface }.map(\.name)
        for name in named { #expect(try DeviceValeTests.delete(client, name) == 0, "\(name)") }
        client.expectNothingLeft(except: ["nm0"])
    }

    @Test("survives any bytes in any request", arguments: 0..<8)
    func hostile(seed: Int) throws {
        var random = Seeded(seed + 1000)
        let client = try DeviceClient.withInterface()
        let holder = try client.bind("vale0:a", DeviceLoopTests.exclusive)
        for _ in 0..<400 {
            let number = random.chance(30) ? holder : client.open()
            var message = random.bytes(random.below(300))
            switch random.below(4) {
            case 0: _ = client.device.regif(number, message)
            case 1: _ = client.device.ginfo(number, message)
            case 2: _ = client.device.config(number, message)
            default: _ = client.device.control(number, message)
            }
            // The same with the first checks passed.
            message = DeviceClient.message(
                header: DeviceClient.header(
                    random.below(17),
                    Self.names[random.below(Self.names.count)],
                    hasBody: random.chance(90)
                ),
                body: random.bytes([0, 8, 16, 32, 56, 64][random.below(6)]),
                options: (0..<random.below(3)).map { _ in
                    var option = DeviceOptionTests.option(
                        random.below(7),
                        size: random.chance(50) ? 24 : random.below(1 << 40),
                        length: [24, 32, 40, 56, 96][random.below(5)]
                    )
                    for place in 24..<option.count { option[place] = UInt8(random.below(256)) }
                    return option
                },
                csbError: Int32(truncatingIfNeeded: Int(random.next() >> 33))
            )
            if random.chance(30) {
                for _ in 0..<random.below(8) {
                    message[random.below(message.count)] = UInt8(random.below(256))
                }
            }
            if random.chance(10) { message.removeLast(random.below(message.count)) }
            let answer = client.device.control(number, message)
            #expect(answer.reply.count == message.count)
            var legacy = DeviceLegacyTests.request(
                Self.names[random.below(Self.names.count)],
                command: Int32(random.below(13))
            )
            for place in 20..<60 where place != 42 && place != 43 {
                legacy[place] = UInt8(random.below(256))
            }
            _ = client.device.regif(number, legacy)
            if number != holder { client.close(number) }
        }
        client.close(holder)
        #expect(client.device.adapters.allSatisfy { $0.bindings == 0 && $0.region == nil })
    }

    @Test("does not trust what programs write into rings, interfaces and krings", arguments: 0..<8)
    func scribbling(seed: Int) throws {
        var random = Seeded(seed)
        let client = try DeviceClient.withInterface()
        var open: [DescriptorNumber] = []
        for name in ["nm0", "vale0:a", "vale0:a{1", "vale0:a}1", "foo{1"] {
            open.append(try client.bind(name, DeviceClient.registration(extra: 5)))
        }
        for number in open {
            let memory = try client.memory(number)
            let size = Int(memory.attachment.region_size)
            for _ in 0..<20000 {
                let near = Int(memory.attachment.buffer_offset) + 1 << 16
                memory.store32(Int(random.next() >> 1), random.below(min(size, near) / 4 - 2) * 4)
            }
            let krings = (Int(memory.attachment.control_size) - 128) / 128 - 1
            for _ in 0..<200 {
                memory.setKring(
                    Int(random.next() >> 1),
                    random.below(min(krings, 4)),
                    random.below(31) * 4
                )
            }
        }
        while !open.isEmpty { client.close(open.remove(at: random.below(open.count))) }
        client.expectNothingLeft(except: ["nm0"])
    }
}
