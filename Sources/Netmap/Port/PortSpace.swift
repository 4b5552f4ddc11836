// Where ports are: in an engine's process, or in this one. A port works the same at both.

package import CNetmap
import Glibc

/// Where the names of ports mean something: an engine, or switches inside this process.
///
///     let space = PortSpace.engine()        // `wirevale serve` of this user
///     let space = PortSpace.embedded()      // import Vale: no engine, no other process
public struct PortSpace: Sendable {
    package let backend: any PortBackend

    package init(_ backend: any PortBackend) { self.backend = backend }

    /// The ports of an engine's process.
    ///
    /// - Parameter socket: its netmap.sock; by default $WIREVALE_NETMAP, else the one in the runtime
    ///   directory of this user's engine ($WIREVALE_RUNTIME_DIR, and so on).
    /// - Returns: the space; whether an engine is there shows when a port is opened.
    public static func engine(socket: String? = nil) -> PortSpace {
        PortSpace(EngineBackend(socket ?? EngineBackend.defaultSocket))
    }

    /// Sends a request about no port that is open.
    func ask<Body: BitwiseCopyable>(
        _ type: Int,
        _ name: String,
        _ body: Body?,
        _ what: @autoclosure () -> String
    ) throws(PortError) -> ControlResult<Body> {
        let handle = try backend.open()
        defer { backend.close(handle) }
        return try backend.request(handle, type, name, body, what())
    }
}

/// An open descriptor.
package final class PortHandle: Sendable {
    /// Its number, where the backend has some.
    package let number: DescriptorNumber
    /// Becomes readable when there is news that was asked for; readable for ever when nobody is there
    /// any more.
    package let socket: OwnedDescriptor

    package init(_ number: DescriptorNumber, _ socket: OwnedDescriptor) {
        self.number = number
        self.socket = socket
    }
}

/// What a bound descriptor gives access to.
package struct PortAttachment {
    package let binding: nm_attachment
    package let region: Mapping
    package let control: Mapping

    package init(_ binding: nm_attachment, region: Mapping, control: Mapping) {
        self.binding = binding
        self.region = region
        self.control = control
    }
}

/// An answer to NIOCCTRL.
package struct ControlAnswer {
    package let errno: Int32
    package let reply: [UInt8]
    /// Why it was turned down, where that is known.
    package let reason: String?

    package init(errno: Int32, reply: [UInt8], reason: String?) {
        self.errno = errno
        self.reply = reply
        self.reason = reason
    }
}

/// Who answers requests and moves frames.
package protocol PortBackend: AnyObject, Sendable {
    /// Whether `work` does what there is to do on the caller's thread; else a byte on the socket has
    /// the engine do it.
    var isEmbedded: Bool { get }
    /// As open("/dev/netmap").
    func open() throws(PortError) -> PortHandle
    /// As NIOCCTRL, with the message of netmap_wire.h.
    func control(_ handle: PortHandle, _ message: [UInt8]) throws(PortError) -> ControlAnswer
    /// What the descriptor has bound.
    func attach(_ handle: PortHandle) throws(PortError) -> PortAttachment
    /// A ring's head has moved, and whoever moves its frames sleeps.
    func work(_ handle: PortHandle, _ ring: RingNumber)
    /// Unbinds it.
    func close(_ handle: PortHandle)
}

/// A request's results.
struct ControlResult<Body: BitwiseCopyable> {
    let header: nmreq_header
    let body: Body?
}

extension PortBackend {
    /// Sends NIOCCTRL without options.
    func request<Body: BitwiseCopyable>(
        _ handle: PortHandle,
        _ type: Int,
        _ name: String,
        _ body: Body?,
        _ what: @autoclosure () -> String
    ) throws(PortError) -> ControlResult<Body> {
        let headerLength = MemoryLayout<nmreq_header>.size
        let bodyOffset = headerLength + MemoryLayout<nm_control_call>.size
        let bodyLength = body == nil ? 0 : MemoryLayout<Body>.size
        guard name.utf8.count < Int(NETMAP_REQ_IFNAMSIZ) else {
            throw PortError(
                .specification,
                errno: EINVAL,
                "'\(name)' has \(name.utf8.count) characters; a name has 63 at most"
            )
        }
        var message = [UInt8](repeating: 0, count: bodyOffset + (bodyLength + 7) & ~7)
        message.put(UInt16(NETMAP_API), at: 0)
        message.put(UInt16(type), at: 2)
        for (place, byte) in name.utf8.enumerated() { message[8 + place] = byte }
        // Only whether there is one counts (netmap_wire.h).
        if body != nil { message.put(UInt64(bodyOffset), at: 80) }
        message.put(UInt32(bodyLength), at: headerLength)
        if let body { message.put(body, at: bodyOffset) }
        let answer = try control(handle, message)
        guard answer.errno == 0 else {
            throw PortError.refusal(what(), answer.errno, reason: answer.reason)
        }
        guard let header = answer.reply.value(nmreq_header.self, at: 0),
            body == nil || answer.reply.count >= bodyOffset + bodyLength
        else {
            throw PortError(.noEngine, errno: EPROTO, "\(what()): the engine's answer is cut off")
        }
        return ControlResult(
            header: header,
            body: body == nil ? nil : answer.reply.value(Body.self, at: bodyOffset)
        )
    }
}
