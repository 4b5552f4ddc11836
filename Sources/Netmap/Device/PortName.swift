// Names as requests carry them (netmap-spec 2.12): which kind of port they can mean.

import Glibc

/// The text of a name, and how it falls apart.
struct PortName {
    let text: String

    /// Takes the bytes before the first zero.
    ///
    /// - Throws: EINVAL for what no port can be called.
    init(_ bytes: some Sequence<UInt8>) throws(NetmapError) {
        let name = Array(bytes.prefix { $0 != 0 })
        if let bad = name.first(where: { !(0x20..<0x7f).contains($0) }) {
            throw NetmapError(
                EINVAL,
                "the name of a port has the byte \(bad) in it; printable ASCII is possible, "
                    + "such as 'vale0:vm1'"
            )
        }
        text = String(decoding: name, as: UTF8.self)
    }

    init(_ text: String) { self.text = text }

    /// A pipe's end.
    struct Pipe {
        let parent: PortName
        let id: String
        let isMaster: Bool
    }

    /// The pipe that it names: by its last '{', or without one by its last '}'.
    ///
    /// - Throws: EINVAL if the parent or the id is missing.
    func pipe() throws(NetmapError) -> Pipe? {
        let isMaster = text.contains("{")
        guard let at = text.lastIndex(of: isMaster ? "{" : "}") else { return nil }
        let parent = String(text[..<at])
        let id = String(text[text.index(after: at)...])
        guard !parent.isEmpty, !id.isEmpty else {
            throw NetmapError(
                EINVAL,
                "'\(text)' names no pipe: write its parent, '{' or '}', and an id, "
                    + "such as 'vale0:a{1'"
            )
        }
        return Pipe(parent: PortName(parent), id: id, isMaster: isMaster)
    }

    /// Whether it is one of a switch's ports, well-formed or not: nothing else can begin like that.
    var isVale: Bool { text.hasPrefix("val") }

    /// The most characters of a switch's and of a port's name.
    static let longest = 15

    /// The port of a switch that it names, nil if it is malformed.
    var address: ValeAddress? {
        guard isVale, let colon = text.firstIndex(of: ":") else { return nil }
        let vale = text[..<colon]
        let port = text[text.index(after: colon)...]
        let isWord = vale.utf8.allSatisfy { byte in
            switch UInt8(byte) {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
                true
            default: false
            }
        }
        guard isWord, vale.utf8.count <= Self.longest else { return nil }
        guard !port.isEmpty, port.utf8.count <= Self.longest else { return nil }
        return ValeAddress(vale: String(vale), port: String(port))
    }

    /// The sentence for a name that should have been a switch's port.
    var valeComplaint: String {
        "'\(text)' names no VALE port: write SWITCH:PORT, such as 'vale0:vm1', the switch with "
            + "letters, digits and '_', each part with at most \(Self.longest) characters"
    }
}
