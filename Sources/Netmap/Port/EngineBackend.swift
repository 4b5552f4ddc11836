// The client's side of netmap.sock (netmap_wire.h): one channel a process, a descriptor a port.

import CNetmap
import Glibc
import Synchronization

/// Ports of an engine in another process.
final class EngineBackend: PortBackend {
    private let path: String
    /// The channel, while there is one.
    private let channel = Mutex<OwnedDescriptor?>(nil)
    private static let patience: Int32 = 15_000

    init(_ path: String) { self.path = path }

    var isEmbedded: Bool { false }

    /// Where the engine of this user listens, as the command and the preload library find it.
    static var defaultSocket: String {
        func value(_ name: String) -> String? {
            unsafe getenv(name).map { unsafe String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }
        }
        if let socket = value("WIREVALE_NETMAP") { return socket }
        let directory =
            value("WIREVALE_RUNTIME_DIR")
            ?? (geteuid() == 0
                ? "/run/wirevale" : value("XDG_RUNTIME_DIR").map { $0 + "/wirevale" })
            ?? "/tmp/wirevale-\(geteuid())"
        return directory + "/netmap.sock"
    }

    func open() throws(PortError) -> PortHandle {
        let answer = try call(NM_CALL_OPEN, nil, [])
        guard answer.error == 0, let socket = answer.files.first else {
            throw PortError.refusal(
                "cannot open a descriptor",
                answer.error == 0 ? EPROTO : answer.error,
                reason: nil
            )
        }
        return PortHandle(0, socket)
    }

    func control(_ handle: PortHandle, _ message: [UInt8]) throws(PortError) -> ControlAnswer {
        let answer = try call(NM_CALL_CONTROL, handle.socket, message)
        return ControlAnswer(errno: answer.error, reply: answer.payload, reason: nil)
    }

    func attach(_ handle: PortHandle) throws(PortError) -> PortAttachment {
        let answer = try call(NM_CALL_ATTACH, handle.socket, [])
        guard answer.error == 0, answer.files.count == 2,
            let binding = answer.payload.value(nm_attachment.self, at: 0)
        else {
            throw PortError.refusal(
                "cannot attach to a port's memory",
                answer.error == 0 ? EPROTO : answer.error,
                reason: nil
            )
        }
        do throws(SystemError) {
            let length = Int(clamping: binding.region_size)
            let region = try RegionMappings.shared.map(answer.files[0], length: length)
            let control = try Mapping(
                answer.files[1],
                length: Int(clamping: binding.control_size)
            )
            return PortAttachment(binding, region: region, control: control)
        } catch {
            throw PortError(error)
        }
    }

    func work(_ handle: PortHandle, _ ring: RingNumber) { nm_doorbell(handle.socket.number) }

    /// Its last holder closes it, which the engine sees.
    func close(_ handle: PortHandle) {}

    // MARK: The channel

    private struct Answer {
        let error: Int32
        let payload: [UInt8]
        let files: [OwnedDescriptor]
    }

    private func call(
        _ op: Int,
        _ descriptor: OwnedDescriptor?,
        _ payload: [UInt8]
    ) throws(PortError) -> Answer {
        let result = channel.withLock { channel -> Result<Answer, PortError> in
            do throws(PortError) {
                // An engine that was replaced closed the old channel before it saw the request.
                if let file = channel, !send(file, op, descriptor, payload) { channel = nil }
                if channel == nil {
                    let file = try connect()
                    guard send(file, op, descriptor, payload) else { throw gone() }
                    channel = file
                }
                guard let file = channel else { throw gone() }
                do throws(PortError) {
                    return .success(try receive(file))
                } catch {
                    channel = nil
                    throw error
                }
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    private func connect() throws(PortError) -> OwnedDescriptor {
        let number = unsafe nm_unix_connect_packets(path)
        if number >= 0 { return OwnedDescriptor(number) }
        guard number == -EACCES || number == -EPERM else {
            throw PortError(
                .noEngine,
                errno: -number,
                "no engine answers at '\(path)'; 'wirevale serve' starts one, "
                    + "WIREVALE_RUNTIME_DIR says where another one is"
            )
        }
        throw PortError(.noEngine, errno: -number, "the engine at '\(path)' is somebody else's")
    }

    private func gone() -> PortError {
        PortError(
            .engineGone,
            errno: ENXIO,
            "the engine at '\(path)' has ended; start it again and open the port once more"
        )
    }

    private func send(
        _ file: OwnedDescriptor,
        _ op: Int,
        _ descriptor: OwnedDescriptor?,
        _ payload: [UInt8]
    ) -> Bool {
        var call = [UInt8](repeating: 0, count: MemoryLayout<nm_call>.size)
        call.put(UInt16(NM_WIRE_VERSION), at: 0)
        call.put(UInt16(op), at: 2)
        call.put(UInt32(payload.count), at: 4)
        let message = call + payload
        let passed = descriptor.map { [$0.number] } ?? []
        let sent = unsafe nm_send(
            file.number,
            message,
            message.count,
            passed,
            Int32(passed.count)
        )
        return sent == Int64(message.count)
    }

    private func receive(_ file: OwnedDescriptor) throws(PortError) -> Answer {
        var poller = pollfd(fd: file.number, events: Int16(POLLIN), revents: 0)
        var ready: Int32
        repeat { ready = unsafe poll(&poller, 1, Self.patience) } while ready < 0 && errno == EINTR
        guard ready > 0 else {
            throw PortError(
                .noEngine,
                errno: ETIMEDOUT,
                "the engine at '\(path)' does not answer; look at its log"
            )
        }
        var buffer = [UInt8](repeating: 0, count: Int(NM_WIRE_MAX) + 1)
        var files = [Int32](repeating: -1, count: 4)
        var count: Int32 = 4
        let n = unsafe nm_receive(file.number, &buffer, buffer.count, &files, &count)
        let passed = files.prefix(Int(max(0, count))).map { OwnedDescriptor($0) }
        guard n > 0 else { throw gone() }
        guard n >= 8, let error = buffer.value(Int32.self, at: 0),
            let length = buffer.value(UInt32.self, at: 4), Int64(length) == n - 8
        else {
            throw PortError(
                .noEngine,
                errno: EPROTO,
                "the engine at '\(path)' speaks another version of netmap_wire.h"
            )
        }
        return Answer(error: error, payload: Array(buffer[8..<Int(n)]), files: passed)
    }
}

/// Regions that this process has mapped: ports of one region share a mapping, and know it by that.
final class RegionMappings: Sendable {
    private struct Key: Hashable {
        let device: UInt
        let inode: UInt
    }
    private struct Entry {
        weak var mapping: Mapping?
    }

    static let shared = RegionMappings()
    private let known = Mutex<[Key: Entry]>([:])

    func map(_ file: OwnedDescriptor, length: Int) throws(SystemError) -> Mapping {
        var status = stat()
        guard unsafe fstat(file.number, &status) == 0 else {
            throw SystemError("fstat of a region", result: -errno)
        }
        let key = Key(device: UInt(status.st_dev), inode: UInt(status.st_ino))
        let result = known.withLock { known -> Result<Mapping, SystemError> in
            known = known.filter { $0.value.mapping != nil }
            if let mapping = known[key]?.mapping, mapping.length == length {
                return .success(mapping)
            }
            do throws(SystemError) {
                let mapping = try Mapping(file, length: length)
                known[key] = Entry(mapping: mapping)
                return .success(mapping)
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }
}
