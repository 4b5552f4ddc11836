// What every NIOCCTRL is checked for (netmap-spec 1.3, 2.4).

import CNetmap
import Glibc
@testable import Netmap
import Testing

@Suite("A control request")
struct DeviceOptionTests {
    static func option(_ type: Int, size: Int = 0, length: Int = 24, next: UInt64 = 0) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: length)
        bytes.put(next, at: 0)
        bytes.put(UInt32(type), at: 8)
        bytes.put(UInt64(size), at: 16)
        return bytes
    }
    static let offsets = option(NETMAP_REQ_OPT_OFFSETS, length: 56)
    static let mode = option(NETMAP_REQ_OPT_SYNC_KLOOP_MODE, length: 32)

    static func register(
        _ options: [[UInt8]],
        isTooLong: Bool = false,
        version: UInt16 = 14,
        reserved: UInt32 = 0
    ) throws -> DeviceClient.Answer {
        let client = DeviceClient()
        let answer = try client.control(
            client.open(),
            NETMAP_REQ_REGISTER,
            "vale0:a",
            body: DeviceClient.bytes(of: DeviceClient.registration()),
            options: options,
            version: version,
            reserved: reserved,
            isTooLong: isTooLong
        )
        if answer.errno != 0 { client.expectNothingLeft() }
        return answer
    }

    @Test("of API 14 and 15 is taken, of others not: EINVAL (trap 5)")
    func versions() throws {
        for version in [UInt16(14), 15] {
            #expect(try Self.register([], version: version).errno == 0)
        }
        for version in [UInt16(0), 13, 16, .max] {
            #expect(try Self.register([], version: version).errno == EINVAL)
        }
    }

    @Test("has nothing in nr_reserved: EINVAL")
    func reserved() throws {
        let answer = try Self.register([], reserved: 1)
        #expect(answer.errno == EINVAL && answer.header.nr_reserved == 1)
    }

    @Test("has a body if its type takes one, else none: EINVAL")
    func bodies() throws {
        let client = try DeviceClient.withInterface()
        let number = client.open()
        for type in [1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13] {
            #expect(try client.control(number, type, "nm0").errno == EINVAL, "\(type)")
        }
        for type in [NETMAP_REQ_VALE_DELIF, NETMAP_REQ_SYNC_KLOOP_STOP, NETMAP_REQ_CSB_ENABLE] {
            #expect(
                try client.control(number, type, "nm0", body: [0, 0, 0, 0, 0, 0, 0, 0]).errno
                    == EINVAL
            )
        }
        for type in [0, 16, 65535] {
            #expect(try client.control(number, type, "nm0").errno == EINVAL)
        }
    }

    @Test("has no option without a type: EINVAL, there too")
    func noType() throws {
        let answer = try Self.register([Self.option(1234), Self.option(0)])
        #expect(answer.errno == EINVAL && answer.statuses == [EOPNOTSUPP, EINVAL])
    }

    @Test("has no option twice: EINVAL for both")
    func twice() throws {
        let answer = try Self.register([
            Self.offsets, Self.option(99), Self.option(99), Self.offsets,
        ])
        #expect(answer.errno == EINVAL)
        #expect(answer.statuses == [EINVAL, EOPNOTSUPP, EOPNOTSUPP, EINVAL])
    }

    @Test("has no more than 4096 bytes: EMSGSIZE; a repetition that comes first is EINVAL")
    func size() throws {
        let unknown = Self.option(1234)
        #expect(try Self.register([unknown], isTooLong: true).errno == EMSGSIZE)
        #expect(try Self.register(Array(repeating: unknown, count: 200)).errno == EMSGSIZE)
        #expect(try Self.register([Self.offsets, Self.offsets], isTooLong: true).errno == EINVAL)
        let large = Self.option(NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS, size: 4096, length: 4096)
        #expect(try Self.register([large]).errno == EMSGSIZE)
    }

    @Test("to REGISTER with an option that nobody knows is refused: EOPNOTSUPP, and undone")
    func unknown() throws {
        let answer = try Self.register([Self.option(1234, next: 0xabc)])
        #expect(answer.errno == EOPNOTSUPP && answer.statuses == [EOPNOTSUPP])
        #expect(answer.options[0].value(UInt64.self, at: 0) == 0xabc, "nro_next is kept")
        #expect(try Self.register([Self.mode]).errno == EOPNOTSUPP, "an option of another request")
    }

    @Test("for OFFSETS is refused: EOPNOTSUPP")
    func offsetsOption() throws {
        let answer = try Self.register([Self.offsets])
        #expect(answer.errno == EOPNOTSUPP && answer.statuses == [EOPNOTSUPP])
    }

    @Test("of another kind ignores options that it does not know")
    func ignored() throws {
        let client = try DeviceClient.withInterface()
        let answer = try client.control(
            client.open(),
            NETMAP_REQ_PORT_INFO_GET,
            "nm0",
            body: DeviceClient.bytes(of: nmreq_port_info_get()),
            options: [Self.option(1234), Self.offsets]
        )
        #expect(answer.errno == 0 && answer.statuses == [EOPNOTSUPP, EOPNOTSUPP])
    }

    @Test("gets its header back in any case (trap 9)")
    func headers() throws {
        let answer = try Self.register([Self.option(1234)])
        #expect(answer.header.nr_reqtype == 1 && answer.header.nr_body == 0x1000)
    }

    @Test("on a descriptor that is not open: EBADF")
    func notOpen() throws {
        let client = DeviceClient()
        let number = client.open()
        client.close(number)
        #expect(try client.register(number, "vale0:a").errno == EBADF)
        #expect(client.device.attachment(of: number) == nil)
        client.close(number)
        #expect(client.open() != number, "numbers are never used twice")
    }
}
