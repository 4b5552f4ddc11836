// netmap.sock: programs' requests to the device, and the descriptors that they get (netmap_wire.h).

import CNetmap
import Control
import Glibc
import Logging
import Netmap

/// Stands for /dev/netmap: sockets at one side, the device and workers at the other.
///
/// Control thread only.
final class NetmapService {
    /// A process's own connection, for requests.
    private final class Channel {
        let file: OwnedDescriptor
        let pid: Int32
        var token: UInt64 = 0
        /// Descriptors whose loop this process runs (SYNC_KLOOP_START).
        var loops: Set<DescriptorNumber> = []

        init(_ file: OwnedDescriptor, pid: Int32) {
            self.file = file
            self.pid = pid
        }
    }

    /// What open("/dev/netmap") returned to somebody: our end.
    struct Descriptor {
        let file: OwnedDescriptor
        let token: UInt64
        let cookie: UInt64
    }

    unowned let engine: Engine
    /// What the programs talk to.
    private(set) var device: NetmapDevice?
    private var listener: (file: OwnedDescriptor, token: UInt64, path: String)?
    private var channels: [UInt64: Channel] = [:]
    private var nextChannel: UInt64 = 1
    private(set) var descriptors: [DescriptorNumber: Descriptor] = [:]
    private var numbers: [UInt64: DescriptorNumber] = [:]
    /// The ports of adapters that have been seen.
    var ports: [ObjectIdentifier: NetmapPort] = [:]
    /// What joins the two switches of persistent ports that are on two.
    var splices: [ObjectIdentifier: Splice] = [:]

    init(engine: Engine) { self.engine = engine }

    /// Whether any program has something open.
    var isInUse: Bool { !descriptors.isEmpty || !channels.isEmpty }

    /// Begins to serve programs at `path`.
    func open(_ path: String) throws {
        var tunables = NetmapDevice.Tunables()
        tunables.processors = sysconf(Int32(_SC_NPROCESSORS_ONLN))
        let device = NetmapDevice(fabric: self, tunables: tunables)
        // What programs can try without any hardware, and upstream's tests want (netmap-spec 2.17, 5.2).
        for name in ["nm0", "nmsink0"] { try device.addInterface(name: name) }
        self.device = device
        try SocketFile.clear(path)
        let file = OwnedDescriptor(
            try SystemError.check(unsafe nm_unix_listen_packets(path), "listen on \(path)")
        )
        let token = try engine.loop.watch(file) { [unowned self] _ in accept() }
        listener = (file, token, path)
    }

    /// Lets everybody go; programs see their descriptors hang up.
    func close() {
        if let listener {
            engine.loop.unwatch(listener.file, listener.token)
            _ = unsafe unlink(listener.path)
        }
        listener = nil
        for id in channels.keys { end(id) }
        for number in descriptors.keys { closed(number) }
        device = nil
    }

    // MARK: Connections

    private func accept() {
        while let file = acceptOne() {
            if let channel = channel(file) { channels[channel.0] = channel.1 }
        }
    }

    private func acceptOne() -> OwnedDescriptor? {
        guard let listener else { return nil }
        let number = nm_unix_accept(listener.file.number)
        return number >= 0 ? OwnedDescriptor(number) : nil
    }

    private func channel(_ file: OwnedDescriptor) -> (UInt64, Channel)? {
        let id = nextChannel
        nextChannel += 1
        let channel = Channel(file, pid: peer(file))
        do throws(SystemError) {
            channel.token = try engine.loop.watch(file) { [unowned self] _ in receive(id) }
        } catch {
            engine.logger.error("\(error)")
            return nil
        }
        return (id, channel)
    }

    private func peer(_ file: OwnedDescriptor) -> Int32 {
        var uid: UInt32 = 0
        var pid: Int32 = 0
        return unsafe nm_unix_peer_uid(file.number, &uid, &pid) == 0 ? pid : 0
    }

    private func end(_ id: UInt64) {
        guard let channel = channels.removeValue(forKey: id) else { return }
        engine.loop.unwatch(channel.file, channel.token)
        for number in channel.loops { device?.loopEnded(number) }
        engine.reconsiderLingering()
    }

    /// Makes a connection of our own and hands out one end: so it has our name as its peer's.
    ///
    /// - Returns: the program's end.
    private func makeDescriptor() throws(NetmapError) -> OwnedDescriptor {
        guard let listener, let device else { throw NetmapError(ENXIO, "the engine is stopping") }
        // So that there is a place in the queue, however many programs begin at once.
        accept()
        let theirs = unsafe nm_unix_connect_packets(listener.path)
        guard theirs >= 0 else {
            throw NetmapError(
                -theirs,
                "\(SystemError("connect to \(listener.path)", result: theirs))"
            )
        }
        let end = OwnedDescriptor(theirs)
        var cookie: UInt64 = 0
        guard unsafe nm_socket_cookie(theirs, &cookie) == 0 else {
            throw NetmapError(ENOTSUP, "this kernel gives sockets no cookies")
        }
        // Others may have connected before us; those are channels.
        var ours: OwnedDescriptor?
        while ours == nil, let file = acceptOne() {
            if peer(file) == getpid() {
                ours = file
            } else if let channel = channel(file) {
                channels[channel.0] = channel.1
            }
        }
        guard let ours else { throw NetmapError(EAGAIN, "the engine cannot accept connections") }
        let number = device.open()
        do throws(SystemError) {
            let token = try engine.loop.watch(ours, for: []) { [unowned self] _ in closed(number) }
            descriptors[number] = Descriptor(file: ours, token: token, cookie: cookie)
        } catch {
            device.close(number)
            throw NetmapError(error.errno, "\(error)")
        }
        numbers[cookie] = number
        engine.reconsiderLingering()
        return end
    }

    /// Nobody holds a descriptor any more.
    private func closed(_ number: DescriptorNumber) {
        guard let descriptor = descriptors.removeValue(forKey: number) else { return }
        numbers[descriptor.cookie] = nil
        for channel in channels.values { channel.loops.remove(number) }
        device?.close(number)
        dropIdlePorts()
        engine.loop.unwatch(descriptor.file, descriptor.token)
        engine.reconsiderLingering()
    }

    // MARK: Requests

    private func receive(_ id: UInt64) {
        guard let channel = channels[id] else { return }
        var buffer = [UInt8](repeating: 0, count: Int(NM_WIRE_MAX) + 1)
        var files = [Int32](repeating: -1, count: 4)
        var count: Int32 = 4
        let n = unsafe nm_receive(channel.file.number, &buffer, buffer.count, &files, &count)
        if n == -Int64(EAGAIN) { return }
        let passed = files.prefix(Int(max(0, count))).map { OwnedDescriptor(received: $0) }
        guard n > 0, n <= Int64(NM_WIRE_MAX) else {
            end(id)
            return
        }
        guard let call = Call(buffer.prefix(Int(n))) else {
            engine.logger.warning(
                "let a program go that speaks another version of netmap_wire.h",
                metadata: ["pid": "\(channel.pid)"]
            )
            end(id)
            return
        }
        let answer = perform(call, passed.first, channel)
        var message = answer.bytes
        // The files close with the answer, whose last use would otherwise be this list.
        let sent = withExtendedLifetime(answer) {
            let numbers = answer.files.map(\.number)
            return unsafe nm_send(
                channel.file.number,
                &message,
                message.count,
                numbers,
                Int32(numbers.count)
            )
        }
        // Who does not read its answers is not one of our libraries.
        if sent != Int64(message.count) { end(id) }
    }

    /// A request without the bytes that say how long it is.
    private struct Call {
        let op: Int
        let payload: [UInt8]

        init?(_ bytes: ArraySlice<UInt8>) {
            guard bytes.count >= 8 else { return nil }
            let at = { (offset: Int) in Int(bytes[bytes.startIndex + offset]) }
            let length = at(4) | at(5) << 8 | at(6) << 16 | at(7) << 24
            guard at(0) | at(1) << 8 == Int(NM_WIRE_VERSION), length == bytes.count - 8 else {
                return nil
            }
            op = at(2) | at(3) << 8
            payload = Array(bytes.dropFirst(8))
        }
    }

    private struct Answer {
        var error: Int32 = 0
        var payload: [UInt8] = []
        var files: [OwnedDescriptor] = []

        var bytes: [UInt8] {
            var bytes: [UInt8] = []
            for word in [UInt32(bitPattern: error), UInt32(payload.count)] {
                for shift in stride(from: UInt32(0), to: 32, by: 8) {
                    bytes.append(UInt8(truncatingIfNeeded: word >> shift))
                }
            }
            return bytes + payload
        }
    }

    private func perform(_ call: Call, _ passed: OwnedDescriptor?, _ channel: Channel) -> Answer {
        if call.op == Int(NM_CALL_OPEN) {
            do throws(NetmapError) {
                return Answer(files: [try makeDescriptor()])
            } catch {
                engine.logger.error("cannot open a descriptor: \(error)")
                return Answer(error: error.errno)
            }
        }
        guard let device, let passed, let number = number(of: passed) else {
            return Answer(error: EBADF)
        }
        let result: (errno: Int32, reply: [UInt8])
        switch call.op {
        case Int(NM_CALL_ATTACH): return attach(number, device)
        case Int(NM_CALL_CONTROL):
            result = device.control(number, call.payload, process: channel.pid)
        case Int(NM_CALL_REGIF): result = device.regif(number, call.payload)
        case Int(NM_CALL_GINFO): result = device.ginfo(number, call.payload)
        case Int(NM_CALL_CONFIG): result = device.config(number, call.payload)
        case Int(NM_CALL_LOOP_ENDED):
            channel.loops.remove(number)
            device.loopEnded(number)
            return Answer()
        default: return Answer(error: EOPNOTSUPP)
        }
        if call.op == Int(NM_CALL_CONTROL), result.errno == 0, call.payload.count > 3,
            Int(call.payload[2]) | Int(call.payload[3]) << 8 == Int(NETMAP_REQ_SYNC_KLOOP_START)
        {
            channel.loops.insert(number)
        }
        if result.errno != 0, let refusal = device.lastRefusal {
            engine.logger.notice("refused: \(refusal)", metadata: ["pid": "\(channel.pid)"])
        }
        dropIdlePorts()
        return Answer(error: result.errno, payload: result.reply)
    }

    private func number(of passed: OwnedDescriptor) -> DescriptorNumber? {
        var cookie: UInt64 = 0
        guard unsafe nm_socket_cookie(passed.number, &cookie) == 0 else { return nil }
        return numbers[cookie]
    }

    private func attach(_ number: DescriptorNumber, _ device: NetmapDevice) -> Answer {
        guard let (attachment, region, control) = device.attachment(of: number) else {
            return Answer(error: EBADF)
        }
        let bytes = unsafe withUnsafeBytes(of: attachment) { unsafe Array($0) }
        return Answer(payload: bytes, files: [region, control].compactMap { $0 })
    }
}
