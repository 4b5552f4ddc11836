// What was made for a file, so that it can be removed when the file does not want it any more. The record lies
// in the engine's directory, because it ends when the engine's ports do: when the machine boots again.

internal import Glibc

/// Things that were made for files.
///
/// A port that somebody has made again with other options since is not one of them.
public struct AppliedObjects: Sendable, Equatable {
    /// The arguments of `netdev_add`, by the port's name.
    public var ports: [String: JSONObject] = [:]
    /// The arguments of `chardev-add`, by id.
    public var chardevs: [String: JSONObject] = [:]
    /// The ports of addresses, by switch and address.
    public var stations: [String: String] = [:]
    /// Switches that stay without ports.
    public var switches: Set<String> = []

    /// Nothing.
    public init() {}

    /// Everything that a file wants.
    public init(_ configuration: Configuration) {
        for port in configuration.ports { ports["\(port.name)"] = port.netdev }
        for chardev in configuration.chardevs {
            chardevs[chardev.options.id] = chardev.options.arguments
        }
        for station in configuration.stations {
            stations["\(station.port.master) \(station.key)"] = "\(station.port)"
        }
        switches = Set(configuration.switches.map(\.name))
    }

    /// Whether there is nothing.
    public var isEmpty: Bool { self == AppliedObjects() }

    mutating func add(_ other: AppliedObjects) {
        ports.merge(other.ports) { _, new in new }
        chardevs.merge(other.chardevs) { _, new in new }
        stations.merge(other.stations) { _, new in new }
        switches.formUnion(other.switches)
    }

    mutating func subtract(_ other: AppliedObjects) {
        for name in other.ports.keys { ports[name] = nil }
        for name in other.chardevs.keys { chardevs[name] = nil }
        for name in other.stations.keys { stations[name] = nil }
        switches.subtract(other.switches)
    }

    /// The record as it is stored.
    func json(for file: String) -> JSONValue {
        let sorted = { (objects: [String: JSONObject]) -> JSONValue in
            .object(
                JSONObject(objects.sorted { $0.key < $1.key }.map { ($0.key, .object($0.value)) })
            )
        }
        return [
            "file": .string(file), "ports": sorted(ports), "chardevs": sorted(chardevs),
            "fdb": .object(
                JSONObject(stations.sorted { $0.key < $1.key }.map { ($0.key, .string($0.value)) })
            ),
            "switches": .array(switches.sorted().map { .string($0) }),
        ]
    }

    /// Takes a stored record; what has another form is left out.
    init(_ value: JSONValue) {
        for (name, object) in value["ports"]?.objectValue ?? [:] {
            ports[name] = object.objectValue
        }
        for (name, object) in value["chardevs"]?.objectValue ?? [:] {
            chardevs[name] = object.objectValue
        }
        switches = Set((value["switches"]?.arrayValue ?? []).compactMap(\.stringValue))
        for (name, port) in value["fdb"]?.objectValue ?? [:] { stations[name] = port.stringValue }
    }
}

/// The records of all files, in a directory of the engine's.
///
/// Each file has its own, so that two tools at once cannot lose each other's.
public struct AppliedRecords: Sendable {
    private let directory: String

    /// The records of an engine.
    public init(_ runtime: RuntimeDirectory) { directory = runtime.applied }

    /// What was made for each file, by the file's whole path.
    public func read() -> [String: AppliedObjects] {
        var records: [String: AppliedObjects] = [:]
        for name in FileAccess.names(in: directory) where name.hasSuffix(".json") {
            guard let bytes = try? FileAccess.read(directory + "/" + name, atMost: 64 << 20).get(),
                let value = try? JSONValue(parsing: String(decoding: bytes, as: UTF8.self)),
                let file = value["file"]?.stringValue
            else { continue }
            records[file] = AppliedObjects(value)
        }
        return records
    }

    /// Notes what was made for a file; a record of nothing is removed.
    ///
    /// - Returns: why that was not possible, as a sentence.
    public func write(_ objects: AppliedObjects, for file: String) -> String? {
        let path = directory + "/" + Self.name(file)
        guard !objects.isEmpty else {
            _ = unsafe unlink(path)
            _ = unsafe rmdir(directory)
            return nil
        }
        _ = unsafe mkdir(directory, 0o700)
        return FileAccess.replace(path, with: objects.json(for: file).line).map {
            "what was made for '\(file)' cannot be noted, so that it will not be removed when the "
                + "file changes: \($0)"
        }
    }

    /// A file name for any path, of 64 bits of FNV-1a.
    private static func name(_ file: String) -> String {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in file.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        return String(hash, radix: 16) + ".json"
    }
}
