// An NIOCCTRL request as it travels: header, nm_control_call, body, options (netmap_wire.h).

import CNetmap
import Glibc

/// An option, in a message or by itself.
struct RequestOption {
    let type: Int
    /// With its header.
    var bytes: [UInt8]
    /// What the program reads in nro_status.
    var status = EOPNOTSUPP

    static let headerLength = MemoryLayout<nmreq_option>.size

    /// Bytes that an option of `type` has.
    static func length(_ header: nmreq_option) -> Int {
        switch Int(header.nro_reqtype) {
        case NETMAP_REQ_OPT_EXTMEM: MemoryLayout<nmreq_opt_extmem>.size
        case NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS: max(headerLength, Int(clamping: header.nro_size))
        case NETMAP_REQ_OPT_CSB: MemoryLayout<nmreq_opt_csb>.size
        case NETMAP_REQ_OPT_SYNC_KLOOP_MODE: MemoryLayout<nmreq_opt_sync_kloop_mode>.size
        case NETMAP_REQ_OPT_OFFSETS: MemoryLayout<nmreq_opt_offsets>.size
        default: headerLength
        }
    }

    static func isKnown(_ type: Int) -> Bool { (1..<NETMAP_REQ_OPT_MAX).contains(type) }

    /// What it is called.
    static func name(_ type: Int) -> String {
        switch type {
        case NETMAP_REQ_OPT_EXTMEM: "EXTMEM"
        case NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS: "SYNC_KLOOP_EVENTFDS"
        case NETMAP_REQ_OPT_CSB: "CSB"
        case NETMAP_REQ_OPT_SYNC_KLOOP_MODE: "SYNC_KLOOP_MODE"
        case NETMAP_REQ_OPT_OFFSETS: "OFFSETS"
        default: "\(type)"
        }
    }
}

/// The options of a request, and what becomes of them.
struct RequestOptions {
    var all: [RequestOption] = []
    /// Whose memory pointers in them are about.
    var process: Int32 = 0
    /// What became of the try to touch a CSB option's arrays.
    var csbError: Int32 = 0

    /// The option of that type; there is at most one.
    subscript(type: Int) -> [UInt8]? { all.first { $0.type == type }?.bytes }

    /// Says what became of an option.
    mutating func settle(_ type: Int, _ status: Int32) {
        for place in all.indices where all[place].type == type { all[place].status = status }
    }

    /// Puts the results of an option in its place.
    mutating func replace(_ type: Int, _ bytes: [UInt8]) {
        for place in all.indices where all[place].type == type { all[place].bytes = bytes }
    }

    /// Refuses what nobody has settled (netmap-spec 2.3, step 13).
    func requireKnown() throws(NetmapError) {
        guard let option = all.first(where: { $0.status == EOPNOTSUPP }) else { return }
        throw NetmapError(
            EOPNOTSUPP,
            "the option \(RequestOption.name(option.type)) is not supported in this request; "
                + "leave it out"
        )
    }
}

/// A request in the middle of being answered.
struct ControlMessage {
    var header: nmreq_header
    let name: [UInt8]
    private let call: nm_control_call
    var body: [UInt8]
    var options = RequestOptions()
    private let original: [UInt8]

    private static let bodyOffset =
        MemoryLayout<nmreq_header>.size + MemoryLayout<nm_control_call>.size
    private static let nameOffset = 8

    /// Takes a message apart.
    ///
    /// - Throws: EINVAL if it is not one; whoever sent it is no netmap library.
    init(_ message: [UInt8], process: Int32) throws(NetmapError) {
        original = message
        guard let header = message.value(nmreq_header.self, at: 0),
            let call = message.value(
                nm_control_call.self,
                at: MemoryLayout<nmreq_header>.size
            )
        else { throw Self.broken("only \(message.count) bytes") }
        self.header = header
        self.call = call
        let nameLength = Int(NETMAP_REQ_IFNAMSIZ)
        name = Array(message[Self.nameOffset..<Self.nameOffset + nameLength - 1])
        let bodyLength = Int(call.body_length)
        guard bodyLength <= message.count - Self.bodyOffset else {
            throw Self.broken("a body of \(bodyLength) bytes that is not there")
        }
        body = Array(message[Self.bodyOffset..<Self.bodyOffset + bodyLength])
        options.process = process
        options.csbError = call.csb_error
        var at = Self.bodyOffset + (bodyLength + 7) & ~7
        while options.all.count < Int(call.option_count) {
            guard let option = message.value(nmreq_option.self, at: at) else {
                throw Self.broken("option \(options.all.count) that is not there")
            }
            let length = RequestOption.length(option)
            guard length <= message.count - at else {
                throw Self.broken("an option of \(length) bytes that are not there")
            }
            options.all.append(
                RequestOption(
                    type: Int(option.nro_reqtype),
                    bytes: Array(message[at..<at + length])
                )
            )
            at += (length + 7) & ~7
        }
    }

    private static func broken(_ what: String) -> NetmapError {
        NetmapError(EINVAL, "a control request has \(what); see nm_control_call in netmap_wire.h")
    }

    /// The same bytes with the results in them.
    var reply: [UInt8] {
        var reply = original
        reply.put(header, at: 0)
        var at = Self.bodyOffset
        reply.replaceSubrange(at..<at + body.count, with: body)
        at += (body.count + 7) & ~7
        for option in options.all {
            reply.replaceSubrange(at..<at + option.bytes.count, with: option.bytes)
            reply.put(UInt32(bitPattern: option.status), at: at + 12)
            at += (option.bytes.count + 7) & ~7
        }
        return reply
    }

    /// The rules that all requests keep (netmap-spec 1.3, 2.4).
    mutating func check() throws(NetmapError) {
        let version = Int32(header.nr_version)
        guard (NETMAP_MIN_API...NETMAP_MAX_API).contains(version) else {
            throw NetmapError(
                EINVAL,
                "netmap API \(version) is not spoken here, \(NETMAP_MIN_API) to \(NETMAP_MAX_API) "
                    + "are; build the program with a newer net/netmap.h"
            )
        }
        guard header.nr_reserved == 0 else {
            throw NetmapError(EINVAL, "nr_reserved is \(header.nr_reserved); it must be 0")
        }
        guard let wanted = Self.bodyLength(Int(header.nr_reqtype)) else {
            throw NetmapError(EINVAL, "there is no request of type \(header.nr_reqtype)")
        }
        guard (header.nr_body != 0) == (wanted != 0), body.count == wanted else {
            throw NetmapError(
                EINVAL,
                "a request of type \(header.nr_reqtype) takes \(wanted) bytes behind nr_body, "
                    + "\(header.nr_body == 0 ? 0 : body.count) are there"
            )
        }
        try checkOptions()
    }

    private mutating func checkOptions() throws(NetmapError) {
        var total = body.count
        var seen: Set<Int> = []
        for place in options.all.indices {
            let type = options.all[place].type
            guard type != 0 else {
                options.all[place].status = EINVAL
                throw NetmapError(EINVAL, "option \(place) of the request has no nro_reqtype")
            }
            guard !RequestOption.isKnown(type) || seen.insert(type).inserted else {
                options.settle(type, EINVAL)
                throw NetmapError(
                    EINVAL,
                    "the option \(RequestOption.name(type)) is there twice; give it once"
                )
            }
            total += options.all[place].bytes.count + 8
        }
        guard call.is_too_long == 0, total <= Int(NETMAP_REQ_MAXSIZE) else {
            throw NetmapError(
                EMSGSIZE,
                "body and options have more than \(NETMAP_REQ_MAXSIZE) bytes, or the list of "
                    + "options does not end"
            )
        }
    }

    /// Bytes of the body that a request takes, nil if there is no such request.
    private static func bodyLength(_ type: Int) -> Int? {
        switch type {
        case NETMAP_REQ_REGISTER: MemoryLayout<nmreq_register>.size
        case NETMAP_REQ_PORT_INFO_GET: MemoryLayout<nmreq_port_info_get>.size
        case NETMAP_REQ_VALE_ATTACH: MemoryLayout<nmreq_vale_attach>.size
        case NETMAP_REQ_VALE_DETACH: MemoryLayout<nmreq_vale_detach>.size
        case NETMAP_REQ_VALE_LIST: MemoryLayout<nmreq_vale_list>.size
        case NETMAP_REQ_PORT_HDR_SET, NETMAP_REQ_PORT_HDR_GET: MemoryLayout<nmreq_port_hdr>.size
        case NETMAP_REQ_VALE_NEWIF: MemoryLayout<nmreq_vale_newif>.size
        case NETMAP_REQ_VALE_POLLING_ENABLE, NETMAP_REQ_VALE_POLLING_DISABLE:
            MemoryLayout<nmreq_vale_polling>.size
        case NETMAP_REQ_POOLS_INFO_GET: MemoryLayout<nmreq_pools_info>.size
        case NETMAP_REQ_SYNC_KLOOP_START: MemoryLayout<nmreq_sync_kloop_start>.size
        case NETMAP_REQ_VALE_DELIF, NETMAP_REQ_SYNC_KLOOP_STOP, NETMAP_REQ_CSB_ENABLE: 0
        default: nil
        }
    }

    /// Runs `work` on the body, which `check` has measured.
    mutating func withBody<Body: BitwiseCopyable>(
        _: Body.Type,
        _ work: (inout Body, inout RequestOptions) throws(NetmapError) -> Void
    ) throws(NetmapError) {
        guard var value = body.value(Body.self, at: 0) else { throw Self.broken("no body") }
        try work(&value, &options)
        body.put(value, at: 0)
    }

    /// Puts a name in the header.
    mutating func rename(_ name: String) {
        var bytes = Array(name.utf8.prefix(Int(NETMAP_REQ_IFNAMSIZ) - 1))
        bytes += Array(repeating: 0, count: Int(NETMAP_REQ_IFNAMSIZ) - bytes.count)
        unsafe withUnsafeMutableBytes(of: &header.nr_name) { unsafe $0.copyBytes(from: bytes) }
    }
}
