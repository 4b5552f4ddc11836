// The files that somebody names: themselves, or directories of them. And what of it all is to be done.

internal import Glibc

/// Configuration files, read and put together.
public struct ConfigurationFiles: Sendable {
    /// The name that stands for standard input.
    public static let standardInput = "-"

    /// The files, in the order in which they count.
    public private(set) var files: [ConfigurationFile] = []
    /// What all files without errors want.
    public private(set) var configuration = Configuration()
    /// What is wrong with the files.
    public private(set) var errors: [ConfigurationError] = []
    /// Directories that were named, whose files may have gone since.
    private var directories: [String] = []

    /// Reads files, and the `*.yaml` and `*.yml` of directories in the order of their names.
    ///
    /// - Parameters:
    ///   - paths: files and directories.
    ///   - mayBeMissing: whether a path that does not exist is as good as an empty directory.
    public init(_ paths: [String], mayBeMissing: Bool = false) {
        for path in paths {
            if FileAccess.isDirectory(path) || mayBeMissing && !FileProbe.exists(path) {
                directories.append(FileAccess.absolute(path))
                for name in FileAccess.names(in: path) where Self.isConfiguration(name) {
                    add(path.hasSuffix("/") ? path + name : path + "/" + name)
                }
            } else {
                add(path)
            }
        }
    }

    private static func isConfiguration(_ name: String) -> Bool {
        !name.hasPrefix(".") && (name.hasSuffix(".yaml") || name.hasSuffix(".yml"))
    }

    private mutating func add(_ path: String) {
        let isInput = path == Self.standardInput
        let text =
            isInput
            ? FileAccess.read(descriptor: 0, atMost: YAMLReader.maximumSize)
            : FileAccess.read(path, atMost: YAMLReader.maximumSize)
        switch text {
        case .failure(let failure): add(ConfigurationFile(path: path, error: failure.description))
        case .success(let bytes):
            add(ConfigurationFile(bytes, path: isInput ? "standard input" : path))
        }
    }

    /// Adds a file that was read; one that contradicts those before it is left out.
    public mutating func add(_ file: ConfigurationFile) {
        var file = file
        if file.errors.isEmpty { file.errors = configuration.merge(file.configuration) }
        errors += file.errors
        files.append(file)
    }

    // MARK: Records

    /// What was made for these files before and may go now.
    ///
    /// Not what is another file's, too, nor what is that of a file with errors: nobody knows what that wants.
    public func former(in records: [String: AppliedObjects]) -> AppliedObjects {
        let good = Set(files.filter { $0.errors.isEmpty }.map { FileAccess.absolute($0.path) })
        let bad = Set(files.filter { !$0.errors.isEmpty }.map { FileAccess.absolute($0.path) })
        var former = AppliedObjects()
        for (file, objects) in records where good.contains(file) || isGone(file) {
            former.add(objects)
        }
        for (file, objects) in records
        where bad.contains(file) || !good.contains(file) && !isGone(file) {
            former.subtract(objects)
        }
        return former
    }

    /// Whether a file was in one of the directories and is not there any more.
    private func isGone(_ file: String) -> Bool {
        guard let slash = file.lastIndex(of: "/") else { return false }
        let isOurs = directories.contains(String(file[..<slash]))
        return isOurs && !files.contains { FileAccess.absolute($0.path) == file }
    }

    /// Notes what was made for the files.
    ///
    /// - Parameters:
    ///   - run: how that went.
    ///   - records: where it is noted.
    /// - Returns: what could not be noted, as sentences.
    public func note(_ run: ConfigurationRun, in records: AppliedRecords) -> [String] {
        let before = records.read()
        let kept = run.notRemoved
        var troubles: [String] = []
        for file in files where file.errors.isEmpty && file.path != "standard input" {
            let path = FileAccess.absolute(file.path)
            var objects = AppliedObjects(file.configuration)
            objects.add((before[path] ?? AppliedObjects()).intersection(kept))
            if objects != before[path] ?? AppliedObjects() {
                troubles += records.write(objects, for: path).map { [$0] } ?? []
            }
        }
        for (path, objects) in before where isGone(path) {
            troubles += records.write(objects.intersection(kept), for: path).map { [$0] } ?? []
        }
        return troubles
    }

    // MARK: Places

    /// Where an engine finds its configuration if nobody says: only the one that is where engines are by default.
    public static func defaultPath(
        for runtime: RuntimeDirectory,
        userID: UInt32,
        environment: (String) -> String?
    ) -> String? {
        let plain = RuntimeDirectory(option: nil, userID: userID) {
            $0 == "WIREVALE_RUNTIME_DIR" ? nil : environment($0)
        }
        guard runtime == plain else { return nil }
        if userID == 0 { return "/etc/wirevale" }
        if let home = environment("XDG_CONFIG_HOME"), home.hasPrefix("/") {
            return home + "/wirevale"
        }
        return environment("HOME").map { $0 + "/.config/wirevale" }
    }

    /// The same for this process.
    public static func defaultPath(for runtime: RuntimeDirectory) -> String? {
        defaultPath(for: runtime, userID: geteuid()) { name in
            unsafe getenv(name).map { unsafe String(cString: $0) }
        }
    }
}
