// port add --netdev: QEMU's own text, of which the command knows name, id and descriptors.

internal import ArgumentParser
internal import Control

extension PortCommand.Add {
    /// The arguments of `netdev_add` that a text of `-netdev` stands for.
    ///
    /// - Parameters:
    ///   - text: what the user wrote.
    ///   - port: the port's name, which the text need not have.
    ///   - id: the id that was asked for.
    /// - Returns: the arguments, not yet checked.
    /// - Throws: what is wrong with the text.
    static func arguments(
        _ text: String,
        for port: ValePortName,
        id: String?
    ) throws -> JSONObject {
        do throws(QMPError) {
            var arguments = try NetdevOptions.arguments(text: text)
            let type = arguments["type"]?.stringValue ?? ""
            let member = NetdevOptions.portMember(of: type)
            if let other = arguments[member]?.stringValue, other != port.description {
                throw QMPError("--netdev names the port \(other), and the command \(port)")
            }
            arguments[member] = .string(port.description)
            if let id { arguments["id"] = .string(id) }
            if arguments["id"] == nil { arguments["id"] = .string(port.identifier) }
            return arguments
        } catch {
            throw Failure(.usage, error.description)
        }
    }
}

/// Descriptors of this process that the options of a port name by their numbers.
struct OwnFiles {
    private var numbers: [Int32] = []

    /// Finds the numbers, and puts the names there under which the engine will have the descriptors.
    init(in arguments: inout JSONObject) {
        if let text = arguments["fd"]?.stringValue { arguments["fd"] = .string(name(text)) }
        if let text = arguments["fds"]?.stringValue {
            let names = text.split(separator: ":").map { name(String($0)) }
            arguments["fds"] = .string(names.joined(separator: ":"))
        }
        for member in ["addr", "local", "remote"] {
            guard var address = arguments[member]?.objectValue,
                let text = address["str"]?.stringValue
            else { continue }
            address["str"] = .string(name(text))
            arguments[member] = .object(address)
        }
    }

    private mutating func name(_ text: String) -> String {
        guard let number = Int32(text), number >= 0 else { return text }
        numbers.append(number)
        return "fd\(number)"
    }

    /// Gives the engine descriptors of its own.
    func pass(to client: ControlClient) throws {
        for number in numbers { try client.pass(number, as: "fd\(number)") }
    }
}
