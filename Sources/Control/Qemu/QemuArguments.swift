// A QEMU argument vector, cut where QEMU cuts it. `-append "-netdev x"` is one option with a
// value, so the cutter must know which options take none; all others do.

/// The arguments of a `qemu-system-*` program.
struct QemuArguments: Sendable {
    /// One option with its value, or one plain argument (a disk image).
    struct Item: Sendable, Hashable {
        /// The option without its dashes; empty for a plain argument.
        let name: String
        /// The value, if the option takes one.
        let value: String?
        /// The words as they were given.
        let words: [String]

        /// Makes an option as we write it.
        init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
            words = ["-" + name, value]
        }

        init(name: String, value: String?, words: [String]) {
            self.name = name
            self.value = value
            self.words = words
        }

        /// The option as error messages cite it.
        var text: String { words.joined(separator: " ") }
    }

    var items: [Item] = []

    init(_ arguments: [String]) {
        var rest = arguments[...]
        while let word = rest.popFirst() {
            guard let name = Self.optionName(word) else {
                items.append(Item(name: "", value: nil, words: [word]))
                continue
            }
            guard !Self.withoutValue.contains(name), let value = rest.popFirst() else {
                items.append(Item(name: name, value: nil, words: [word]))
                continue
            }
            items.append(Item(name: Self.canonical(name), value: value, words: [word, value]))
        }
    }

    /// The values of all options called `name`, as option texts.
    func texts(_ name: String, implied: String) -> [KeyValueText] {
        items.filter { $0.name == name }.compactMap(\.value)
            .map { KeyValueText(json: $0) ?? KeyValueText($0, implied: implied) }
    }

    /// Whether an option without a value is given.
    func has(_ name: String) -> Bool { items.contains { $0.name == name } }

    private static func optionName(_ word: String) -> String? {
        guard word.hasPrefix("-"), word.utf8.count > 1 else { return nil }
        return String(word.dropFirst(word.hasPrefix("--") ? 2 : 1))
    }

    private static func canonical(_ name: String) -> String {
        switch name {
        case "M": "machine"
        case "mempath": "mem-path"
        default: name
        }
    }

    /// QEMU's options that stand alone, of all versions since 2.0 and all targets.
    private static let withoutValue: Set<String> = [
        "h", "help", "version", "snapshot", "no-fd-bootchk", "usb", "nographic", "portrait",
        "curses", "no-frame", "alt-grab", "ctrl-grab", "no-quit", "sdl", "full-screen",
        "win2k-hack", "no-acpi", "no-hpet", "mem-prealloc", "audio-help", "S", "s", "enable-kvm",
        "enable-hax", "no-kvm", "no-kvm-irqchip", "no-kvm-pit", "no-kvm-pit-reinjection",
        "no-reboot", "no-shutdown", "daemonize", "nodefaults", "no-user-config", "nodefconfig",
        "xen-create", "xen-attach", "xen-domid-restrict", "only-migratable", "singlestep",
        "preconfig", "old-param", "semihosting", "enable-fips",
        "async-teardown", "enable-sync-profile", "tdf", "localtime",
        "no-qmp", "nouserconfig",
    ]
}

extension KeyValueText {
    /// Reads the JSON form that `-device`, `-object` and `-netdev` have; nil for any other text.
    init?(json text: String) {
        guard text.first == "{", case .object(let object) = try? JSONValue(parsing: text) else {
            return nil
        }
        self.init(
            object.map { key, value in
                switch value {
                case .string(let string): Pair(key, string)
                case .bool(let flag): Pair(key, flag ? "on" : "off")
                default: Pair(key, value.description)
                }
            }
        )
    }
}

/// A command line as a person would type it.
public enum ShellText {
    /// A word with quotes if a shell would take it apart otherwise.
    public static func quote(_ word: String) -> String {
        let plain = "_-+=:,./@%^"
        let isPlain = word.unicodeScalars.allSatisfy { scalar in
            scalar.isASCII
                && (scalar.properties.isAlphabetic || ("0"..."9").contains(scalar)
                    || plain.unicodeScalars.contains(scalar))
        }
        if isPlain, !word.isEmpty { return word }
        let pieces = word.split(separator: "'", omittingEmptySubsequences: false)
        return "'" + pieces.joined(separator: "'\\''") + "'"
    }

    /// A command with one option to a line.
    public static func lines(_ groups: [[String]]) -> String {
        groups.map { $0.map(quote).joined(separator: " ") }.joined(separator: " \\\n  ")
    }
}
