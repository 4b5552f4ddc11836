// A program and its library, as a device sees them: requests by the published layouts.

import CNetmap
import Glibc
@testable import Netmap
import TestSupport
import Testing

/// A device, its fabric, and what a program does with them.
final class DeviceClient {
    /// What came of a request.
    struct Answer {
        var errno: Int32
        var header: nmreq_header
        var body: [UInt8]
        /// nro_status of each option, and its bytes.
        var statuses: [Int32]
        var options: [[UInt8]]

        func value<Body: BitwiseCopyable>(_: Body.Type) throws -> Body {
            try #require(body.value(Body.self, at: 0))
        }
    }

    let fabric = FakeFabric()
    let device: NetmapDevice

    init(tunables: NetmapDevice.Tunables = .init()) {
        device = NetmapDevice(fabric: fabric, tunables: tunables)
    }

    /// A device with `nm0`.
    static func withInterface() throws -> DeviceClient {
        var tunables = NetmapDevice.Tunables()
        tunables.processors = 4
        let client = DeviceClient(tunables: tunables)
        try client.device.addInterface(name: "nm0")
        return client
    }

    func open() -> DescriptorNumber { device.open() }
    func close(_ number: DescriptorNumber) { device.close(number) }

    static func header(
        _ type: Int,
        _ name: String,
        hasBody: Bool,
        version: UInt16 = 14,
        reserved: UInt32 = 0
    ) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 88)
        bytes.put(version, at: 0)
        bytes.put(UInt16(type), at: 2)
        bytes.put(reserved, at: 4)
        for (place, byte) in name.utf8.prefix(63).enumerated() { bytes[8 + place] = byte }
        bytes.put(UInt64(hasBody ? 0x1000 : 0), at: 80)
        return bytes
    }

    /// A whole request.
    static func message(
        header: [UInt8],
        body: [UInt8],
        options: [[UInt8]] = [],
        isTooLong: Bool = false,
        csbError: Int32 = 0
    ) -> [UInt8] {
        var message = header
        var call = nm_control_call()
        call.body_length = UInt32(body.count)
        call.option_count = UInt32(options.count)
        call.is_too_long = isTooLong ? 1 : 0
        call.csb_error = csbError
        message += [UInt8](repeating: 0, count: 16)
        message.put(call, at: 88)
        for part in [body] + options {
            message += part + [UInt8](repeating: 0, count: -part.count & 7)
        }
        return message
    }

    static func bytes<Value: BitwiseCopyable>(of value: Value) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: MemoryLayout<Value>.size)
        bytes.put(value, at: 0)
        return bytes
    }

    /// NIOCCTRL.
    func control(
        _ number: DescriptorNumber,
        _ type: Int,
        _ name: String,
        body: [UInt8] = [],
        options: [[UInt8]] = [],
        version: UInt16 = 14,
        reserved: UInt32 = 0,
        isTooLong: Bool = false,
        csbError: Int32 = 0,
        process: Int32 = 0
    ) throws -> Answer {
        let header = Self.header(
            type,
            name,
            hasBody: !body.isEmpty,
            version: version,
            reserved: reserved
        )
        let message = Self.message(
            header: header,
            body: body,
            options: options,
            isTooLong: isTooLong,
            csbError: csbError
        )
        let (errno, reply) = device.control(number, message, process: process)
        #expect(reply.count == message.count, "an answer is as long as its request")
        var answer = Answer(
            errno: errno,
            header: try #require(reply.value(nmreq_header.self, at: 0)),
            body: Array(reply[104..<104 + body.count]),
            statuses: [],
            options: []
        )
        var at = 104 + (body.count + 7) & ~7
        for option in options {
            answer.options.append(Array(reply[at..<at + option.count]))
            answer.statuses.append(try #require(reply.value(Int32.self, at: at + 12)))
            at += (option.count + 7) & ~7
        }
        if errno != 0 {
            let refusal = try #require(device.lastRefusal)
            #expect(refusal.errno == errno)
            #expect(refusal.description.count > 20, "a sentence: \(refusal.description)")
        }
        return answer
    }

    /// A register body.
    static func registration(
        mode: Int = NR_REG_ALL_NIC,
        ring: Int = 0,
        flags: Int32 = 0,
        memory: UInt16 = 0,
        extra: UInt32 = 0,
        _ change: (inout nmreq_register) -> Void = { _ in }
    ) -> nmreq_register {
        var body = nmreq_register()
        body.nr_mode = UInt32(mode)
        body.nr_ringid = UInt16(ring)
        body.nr_flags = UInt64(flags)
        body.nr_mem_id = memory
        body.nr_extra_bufs = extra
        change(&body)
        return body
    }

    /// REGISTER; the errno, and what came back if that is 0.
    @discardableResult
    func register(
        _ number: DescriptorNumber,
        _ name: String,
        _ body: nmreq_register = DeviceClient.registration(),
        options: [[UInt8]] = []
    ) throws -> (errno: Int32, body: nmreq_register) {
        let answer = try control(
            number,
            NETMAP_REQ_REGISTER,
            name,
            body: Self.bytes(of: body),
            options: options
        )
        return (answer.errno, try answer.value(nmreq_register.self))
    }

    /// Opens a descriptor and binds it, which must succeed.
    @discardableResult
    func bind(
        _ name: String,
        _ body: nmreq_register = DeviceClient.registration()
    ) throws -> DescriptorNumber {
        let number = open()
        let (errno, _) = try register(number, name, body)
        try #require(errno == 0, "\(name): \(device.lastRefusal?.description ?? "")")
        return number
    }

    /// Opens a descriptor to bind it, which must fail with that errno.
    func refuse(
        _ name: String,
        _ body: nmreq_register = DeviceClient.registration()
    ) throws -> Int32 {
        let number = open()
        defer { close(number) }
        return try register(number, name, body).errno
    }

    /// A request that only has a name.
    func named(_ type: Int, _ name: String) throws -> Int32 {
        let number = open()
        defer { close(number) }
        return try control(number, type, name).errno
    }

    /// A request with a body, on a descriptor of its own.
    func ask<Body: BitwiseCopyable>(
        _ type: Int,
        _ name: String,
        _ body: Body
    ) throws -> (errno: Int32, body: Body, header: nmreq_header) {
        let number = open()
        defer { close(number) }
        let answer = try control(number, type, name, body: Self.bytes(of: body))
        return (answer.errno, try answer.value(Body.self), answer.header)
    }

    /// What a descriptor has bound.
    func attachment(_ number: DescriptorNumber) throws -> nm_attachment {
        try #require(device.attachment(of: number)).0
    }

    /// The memory of a descriptor, as its program maps it.
    func memory(_ number: DescriptorNumber) throws -> ProgramMemory {
        let (attachment, region, control) = try #require(device.attachment(of: number))
        return try ProgramMemory(attachment, region: #require(region), control: #require(control))
    }

    /// Nothing may be left when all descriptors are closed.
    func expectNothingLeft(except names: [String] = []) {
        #expect(device.adapters.map(\.name) == names)
        #expect(fabric.isQuiet, "\(fabric.ports) \(fabric.running.count)")
        for adapter in device.adapters {
            #expect(adapter.region == nil && adapter.control == nil)
            #expect(adapter.allocator.region == nil)
            #expect(adapter.ringOffsets.isEmpty && adapter.ringUsers.isEmpty)
        }
    }
}
