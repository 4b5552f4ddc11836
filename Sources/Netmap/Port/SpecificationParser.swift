// Taking a port's specification apart, from left to right (netmap-spec 2.12).

import Glibc

/// Reads `netmap:NAME` or `valeX:NAME`, a mode, flags, a memory id, and options.
struct SpecificationParser {
    private let text: String
    private var rest: Substring

    init(_ text: String) {
        self.text = text
        rest = text[...]
    }

    private func wrong(_ what: String) -> PortError {
        PortError(
            .specification,
            errno: EINVAL,
            "'\(text)': \(what); write a port as in 'vale0:vm1', 'netmap:eth0-2/Rx' or "
                + "'vale0:vm1@conf:rings=4'"
        )
    }

    private static func isWord(_ text: some StringProtocol) -> Bool {
        text.utf8.allSatisfy { byte in
            switch UInt8(byte) {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
                true
            default: false
            }
        }
    }

    // MARK: Name

    /// The part up to the first of `- * ^ / @`.
    mutating func name() throws(PortError) -> String {
        guard let colon = rest.firstIndex(of: ":") else {
            throw wrong("there is no ':' behind 'netmap' or the name of a switch")
        }
        let prefix = rest[..<colon]
        let port = rest[rest.index(after: colon)...].prefix { !"-*^/@".contains($0) }
        guard prefix == "netmap" || prefix.hasPrefix("vale") && Self.isWord(prefix) else {
            throw wrong("'\(prefix)' is neither 'netmap' nor the name of a switch, 'vale...'")
        }
        guard !port.isEmpty else { throw wrong("the name of the port is missing") }
        if let brace = port.firstIndex(where: { $0 == "{" || $0 == "}" }) {
            let id = port[port.index(after: brace)...]
            guard !id.isEmpty, Self.isWord(id) else {
                throw wrong("a pipe's id is made of letters, digits and '_', not '\(id)'")
            }
        }
        let name = prefix == "netmap" ? String(port) : "\(prefix):\(port)"
        guard name.utf8.count < 64 else { throw wrong("a name has 63 characters at most") }
        rest = rest[port.endIndex...]
        return name
    }

    // MARK: Rings, flags, memory

    /// A mode, then `/flags` and `@id` in any order, up to the options.
    mutating func rings(into port: inout PortSpecification) throws(PortError) {
        switch rest.first {
        case "^":
            rest.removeFirst()
            port.rings = isDigit(rest.first) ? .hostOne(try ring()) : .host
        case "*":
            rest.removeFirst()
            port.rings = .allAndHost
        case "-":
            rest.removeFirst()
            port.rings = .one(try ring())
        default: break
        }
        while let first = rest.first {
            let next = rest.dropFirst().first
            if first == "@", let next, !isDigit(next) { return }
            rest.removeFirst()
            switch first {
            case "/": try flags(into: &port)
            case "@":
                guard let id = number(most: 65535), id > 0 else {
                    throw wrong("behind '@' a memory id from 1 to 65535 or an option is needed")
                }
                guard port.memoryID == 0 || Int(port.memoryID) == id else {
                    throw wrong("there are two memory ids, \(port.memoryID) and \(id)")
                }
                port.memoryID = UInt16(id)
            default: throw wrong("'\(first)' has no place there")
            }
        }
    }

    private func isDigit(_ character: Character?) -> Bool {
        character.map { ("0"..."9").contains($0) } ?? false
    }

    private mutating func number(most: Int) -> Int? {
        let digits = rest.prefix { isDigit($0) }
        guard let value = Int(digits), value <= most else { return nil }
        rest = rest[digits.endIndex...]
        return value
    }

    private mutating func ring() throws(PortError) -> Int {
        guard let ring = number(most: 4094) else {
            throw wrong("the number of a ring is from 0 to 4094")
        }
        return ring
    }

    private mutating func flags(into port: inout PortSpecification) throws(PortError) {
        var any = false
        while let letter = rest.first, letter != "/", letter != "@" {
            switch letter {
            case "x": port.flags.insert(.exclusive)
            case "z": port.flags.insert(.zeroCopyMonitor)
            case "t": port.flags.insert(.monitorTransmit)
            case "r": port.flags.insert(.monitorReceive)
            case "R": port.flags.insert(.receiveOnly)
            case "T": port.flags.insert(.transmitOnly)
            default:
                throw wrong("'\(letter)' is no flag; x, z, t, r, R and T are")
            }
            any = true
            rest.removeFirst()
        }
        guard any else { throw wrong("no flag follows '/'; x, z, t, r, R and T are flags") }
    }

    // MARK: Options

    /// `@name=value` or `@name:key=value,key=value`, repeated.
    mutating func options(into port: inout PortSpecification) throws(PortError) {
        var seen: Set<String> = []
        while rest.first == "@" {
            rest.removeFirst()
            let option = rest.prefix { $0 != "@" }
            rest = rest[option.endIndex...]
            let name = option.prefix { $0 != ":" && $0 != "=" }
            let value = option[name.endIndex...].dropFirst()
            let isKeyed = option[name.endIndex...].first == ":"
            switch name {
            case "conf":
                guard isKeyed else { throw wrong("conf needs keys, as in '@conf:rings=4'") }
                try configuration(value, into: &port, &seen)
            case "share":
                let other = isKeyed && value.hasPrefix("port=") ? value.dropFirst(5) : value
                guard !other.isEmpty, port.sharesMemoryWith == nil else {
                    throw wrong("share names one port, as in '@share=vale0:vm1'")
                }
                do throws(PortError) { _ = try PortSpecification(String(other)) } catch {
                    throw wrong("share names no port with '\(other)'")
                }
                port.sharesMemoryWith = String(other)
            case "extmem", "offset":
                throw PortError(
                    .specification,
                    errno: EOPNOTSUPP,
                    "'\(text)': the option \(name) is for C programs; leave it out here"
                )
            default: throw wrong("'\(name)' is no option; conf and share are")
            }
        }
    }

    private func configuration(
        _ list: Substring,
        into port: inout PortSpecification,
        _ seen: inout Set<String>
    ) throws(PortError) {
        for item in list.split(separator: ",", omittingEmptySubsequences: false) {
            let parts = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let key = String(parts[0]).replacing("_", with: "-")
            let most = key.hasSuffix("slots") ? Int(UInt32.max) : Int(UInt16.max)
            guard parts.count == 2, !parts[1].isEmpty, parts[1].allSatisfy({ isDigit($0) }),
                let value = Int(parts[1]), value <= most
            else { throw wrong("'\(item)' is not KEY=NUMBER") }
            guard seen.insert(key).inserted else { throw wrong("'\(key)' is there twice") }
            func set(_ field: WritableKeyPath<PortSpecification.Configuration, Int>, _ all: String)
            {
                // What is said of one direction stands, whichever comes first.
                if key == all, port.configuration[keyPath: field] != 0 { return }
                port.configuration[keyPath: field] = value
            }
            switch key {
            case "rings":
                set(\.transmitRings, key)
                set(\.receiveRings, key)
            case "host-rings":
                set(\.hostTransmitRings, key)
                set(\.hostReceiveRings, key)
            case "slots":
                set(\.transmitSlots, key)
                set(\.receiveSlots, key)
            case "tx-rings": set(\.transmitRings, "")
            case "rx-rings": set(\.receiveRings, "")
            case "host-tx-rings": set(\.hostTransmitRings, "")
            case "host-rx-rings": set(\.hostReceiveRings, "")
            case "tx-slots": set(\.transmitSlots, "")
            case "rx-slots": set(\.receiveSlots, "")
            default: throw wrong("'\(key)' is no key of conf; rings, slots and tx-rings are")
            }
        }
    }
}
