// Control blocks and their loop, as far as the engine has a say (netmap-spec 2.19).

import CNetmap
import Glibc
@testable import Netmap
import Testing

@Suite("CSB mode")
struct DeviceLoopTests {
    static func csb(_ atok: UInt64 = 0x10000, _ ktoa: UInt64 = 0x20000) -> [UInt8] {
        var option = DeviceOptionTests.option(NETMAP_REQ_OPT_CSB, length: 40)
        option.put(atok, at: 24)
        option.put(ktoa, at: 32)
        return option
    }

    static func eventfds(_ kicks: [Int32], size: Int? = nil) -> [UInt8] {
        let length = 24 + 8 * kicks.count
        var option = DeviceOptionTests.option(
            NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS,
            size: size ?? length,
            length: length
        )
        for (place, kick) in kicks.enumerated() { option.put(kick, at: 24 + 8 * place) }
        return option
    }

    static func mode(_ mode: UInt32) -> [UInt8] {
        var option = DeviceOptionTests.mode
        option.put(mode, at: 24)
        return option
    }

    static let exclusive = DeviceClient.registration(flags: NR_EXCLUSIVE)

    static func register(
        _ client: DeviceClient,
        _ option: [UInt8],
        _ body: nmreq_register = exclusive,
        csbError: Int32 = 0
    ) throws -> (answer: DeviceClient.Answer, number: DescriptorNumber) {
        let number = client.open()
        let answer = try client.control(
            number,
            NETMAP_REQ_REGISTER,
            "vale0:a",
            body: DeviceClient.bytes(of: body),
            options: [option],
            csbError: csbError
        )
        return (answer, number)
    }

    static func start(
        _ client: DeviceClient,
        _ number: DescriptorNumber,
        sleep: UInt32 = 500,
        _ options: [[UInt8]] = []
    ) throws -> DeviceClient.Answer {
        var body = nmreq_sync_kloop_start()
        body.sleep_us = sleep
        return try client.control(
            number,
            NETMAP_REQ_SYNC_KLOOP_START,
            "",
            body: DeviceClient.bytes(of: body),
            options: options
        )
    }

    static func stop(_ client: DeviceClient, _ number: DescriptorNumber) throws -> Int32 {
        try client.control(number, NETMAP_REQ_SYNC_KLOOP_STOP, "").errno
    }

    @Test("comes with REGISTER, exclusive and aligned: EINVAL, and the bind is undone")
    func register() throws {
        let client = DeviceClient()
        for option in [Self.csb(0x10), Self.csb(0x40, 0x820), Self.csb(0), Self.csb(0x40, 0)] {
            let (answer, _) = try Self.register(client, option)
            #expect(answer.errno == EINVAL && answer.statuses == [EINVAL])
            client.expectNothingLeft()
        }
        let shared = try Self.register(client, Self.csb(), DeviceClient.registration())
        #expect(shared.answer.errno == EINVAL && shared.answer.statuses == [EINVAL])
        let unreachable = try Self.register(client, Self.csb(), csbError: EFAULT)
        #expect(unreachable.answer.errno == EFAULT && unreachable.answer.statuses == [EFAULT])
        client.expectNothingLeft()
        let (answer, number) = try Self.register(client, Self.csb())
        #expect(answer.errno == 0 && answer.statuses == [0])
        #expect(try client.attachment(number).is_csb == 1)
    }

    @Test("comes later with CSB_ENABLE: EINVAL without its option, without a port")
    func enable() throws {
        let client = DeviceClient()
        let unbound = client.open()
        #expect(
            try client.control(unbound, NETMAP_REQ_CSB_ENABLE, "", options: [Self.csb()]).errno
                == EINVAL
        )
        let shared = try client.bind("vale0:b")
        #expect(
            try client.control(shared, NETMAP_REQ_CSB_ENABLE, "", options: [Self.csb()]).errno
                == EINVAL
        )
        let number = try client.bind("vale0:a", Self.exclusive)
        #expect(try client.control(number, NETMAP_REQ_CSB_ENABLE, "").errno == EINVAL)
        #expect(try client.attachment(number).is_csb == 0)
        let answer = try client.control(number, NETMAP_REQ_CSB_ENABLE, "", options: [Self.csb()])
        #expect(answer.errno == 0 && answer.statuses == [0])
        #expect(try client.attachment(number).is_csb == 1)
        #expect(try Self.start(client, number).errno == 0)
        let again = try client.control(number, NETMAP_REQ_CSB_ENABLE, "", options: [Self.csb()])
        #expect(again.errno == EBUSY && again.statuses == [EBUSY])
    }

    @Test(
        "has a loop: ENXIO without a port, EINVAL without blocks or for a long sleep, EBUSY twice (trap 48)"
    )
    func startErrors() throws {
        let client = DeviceClient()
        let unbound = client.open()
        #expect(
            try Self.start(client, unbound).errno == ENXIO && Self.stop(client, unbound) == ENXIO
        )
        let plain = try client.bind("vale0:b")
        #expect(try Self.start(client, plain).errno == EINVAL)
        let (_, number) = try Self.register(client, Self.csb())
        #expect(try Self.start(client, number, sleep: 1_000_001).errno == EINVAL)
        #expect(try Self.start(client, number, sleep: 1_000_000).errno == 0)
        #expect(try Self.start(client, number).errno == EBUSY)
        #expect(try Self.stop(client, number) == 0)
        #expect(try Self.start(client, number).errno == EBUSY, "it is still ending")
        client.device.loopEnded(number)
        #expect(try Self.start(client, number).errno == 0)
    }

    @Test("tells the loop to stop in its krings, and who stops it when it has ended")
    func word() throws {
        let client = DeviceClient()
        let (_, number) = try Self.register(client, Self.csb())
        let memory = try client.memory(number)
        let words = { [memory.kring(0, 92), memory.kring(1, 92)] }
        #expect(words() == [NM_LOOP_NONE, NM_LOOP_NONE])
        #expect(try Self.start(client, number).errno == 0)
        #expect(words() == [NM_LOOP_RUN, NM_LOOP_RUN])
        #expect(try Self.stop(client, number) == 0 && Self.stop(client, number) == 0)
        #expect(words() == [NM_LOOP_STOP, NM_LOOP_STOP])
        client.device.loopEnded(number)
        client.device.loopEnded(number)
        #expect(words() == [NM_LOOP_NONE, NM_LOOP_NONE])
        #expect(try Self.start(client, number).errno == 0)
        client.close(number)
        #expect(words() == [NM_LOOP_NONE, NM_LOOP_NONE], "nobody waits for what is gone")
        client.device.loopEnded(number)
        client.expectNothingLeft()
    }

    @Test("remembers a STOP that comes before its START (trap 47)")
    func stopFirst() throws {
        let client = DeviceClient()
        let (_, number) = try Self.register(client, Self.csb())
        let memory = try client.memory(number)
        #expect(try Self.stop(client, number) == 0)
        #expect(memory.kring(0, 92) == NM_LOOP_STOP_NEXT, "nobody waits")
        #expect(try Self.start(client, number).errno == 0)
        #expect(memory.kring(0, 92) == NM_LOOP_STOP, "it ends at once")
        client.device.loopEnded(number)
        #expect(memory.kring(0, 92) == NM_LOOP_NONE)
    }

    @Test("takes eventfds for exactly its rings: EINVAL")
    func eventfds() throws {
        let client = DeviceClient()
        let (_, number) = try Self.register(client, Self.csb())
        for option in [
            Self.eventfds([3]), Self.eventfds([3, 4, 5]), Self.eventfds([]),
            Self.eventfds([3], size: 30),
        ] {
            let answer = try Self.start(client, number, [option])
            #expect(answer.errno == EINVAL && answer.statuses == [EINVAL])
        }
        let answer = try Self.start(client, number, [Self.eventfds([3, -1])])
        #expect(answer.errno == 0 && answer.statuses == [0])
    }

    @Test("serves rings in their kick if all have one: EINVAL")
    func directModes() throws {
        let client = DeviceClient()
        let (_, number) = try Self.register(client, Self.csb())
        let all = Self.eventfds([3, 4])
        for options in [
            [all, Self.mode(4)], [Self.mode(1)], [Self.eventfds([3, -1]), Self.mode(2)],
        ] {
            let answer = try Self.start(client, number, options)
            #expect(answer.errno == EINVAL && answer.statuses.last == EINVAL)
        }
        for mode: UInt32 in [0, 1, 2, 3] {
            let answer = try Self.start(client, number, [Self.mode(mode), all])
            #expect(answer.errno == 0 && answer.statuses == [0, 0])
            client.device.loopEnded(number)
        }
        #expect(try Self.start(client, number, [DeviceOptionTests.option(777)]).errno == 0)
    }
}
