// wirevale shim: runs a netmap program on this machine, which has no netmap. The engine is started if
// need be, the preload library is put in front of libc, and then this process turns into the program.

internal import ArgumentParser
internal import Control
internal import Glibc

struct Shim: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run a netmap program, unmodified, with VALE switches and pipes of the engine.",
        discussion: """
            EXAMPLES:
              wirevale shim pkt-gen -i vale0:a -f rx
              wirevale shim bridge -i vale0:x -i netmap:p{1
              wirevale shim --devname /dev/netmap1 ./my-netmap-program
              wirevale shim --print                   what to put into the environment

            The program and all that it starts find the engine at /dev/netmap, or at
            --devname. It must be linked dynamically: the library takes the place of
            libc's open, ioctl, mmap, poll and their kin.
            """
    )

    @Option(
        help: ArgumentHelp(
            "The path that the program opens instead of /dev/netmap.",
            valueName: "path"
        )
    )
    var devname: String?
    @Option(
        help: ArgumentHelp(
            "The preload library; else libnetmap-shim.so beside this program or in ../lib.",
            valueName: "file"
        )
    )
    var library: String?
    @Flag(name: .customLong("print"), help: "Print the command instead of running it.")
    var isPrinting = false
    @OptionGroup var engine: EngineOptions
    @Argument(parsing: .captureForPassthrough, help: "The program and what it is given.")
    var arguments: [String] = []

    func run() throws {
        if arguments.first == "--help" { throw CleanExit.helpRequest(self) }
        let words = arguments.first == "--" ? Array(arguments.dropFirst()) : arguments
        let variables = try variables()
        if isPrinting {
            let settings = variables.map { "\($0.name)=\(ShellText.quote($0.value))" }
            return print((settings + words.map(ShellText.quote)).joined(separator: " "))
        }
        guard let program = words.first else {
            throw Failure(
                .usage,
                "no program; write it after the options, as in 'wirevale shim pkt-gen -i vale0:a'"
            )
        }
        guard ProgramRun.find(program) != nil else {
            throw Failure(.unavailable, "there is no program '\(program)'")
        }
        _ = try engine.connectFromOutside()
        for variable in variables { unsafe setenv(variable.name, variable.value, 1) }
        fflush(nil)
        let code = unsafe CStringArray.with(words) { argv -> Int32 in
            _ = unsafe execvp(program, argv)
            return errno
        }
        let reason = unsafe strerror(code).map { unsafe String(cString: $0) } ?? "error \(code)"
        throw Failure(.unavailable, "cannot run \(program): \(reason)")
    }

    /// What the library looks for, and the dynamic linker.
    private func variables() throws -> [(name: String, value: String)] {
        let others = unsafe getenv("LD_PRELOAD").map { unsafe String(cString: $0) } ?? ""
        let library = try ShimLibrary.find(library)
        var result = [
            ("LD_PRELOAD", others.isEmpty ? library : "\(library):\(others)"),
            ("WIREVALE_NETMAP", engine.directory.netmapSocket),
        ]
        if let devname { result.append(("WIREVALE_DEVNAME", devname)) }
        return result
    }
}

/// The preload library, wherever it was installed or built.
enum ShimLibrary {
    static let name = "libnetmap-shim.so"

    /// The library's path: the one that was given, else where it belongs.
    static func find(_ given: String?) throws -> String {
        let places = given.map { [$0] } ?? places(of: ownPath)
        for place in places where unsafe access(place, R_OK) == 0 {
            let absolute = unsafe realpath(place, nil)
            defer { unsafe free(absolute) }
            // LD_PRELOAD separates its entries by colons and blanks, and has no way to quote them.
            let path = unsafe absolute.map { unsafe String(cString: $0) } ?? place
            guard !path.contains(where: { ":; \t".contains($0) }) else {
                throw Failure(
                    .unavailable,
                    "the dynamic linker cannot take '\(path)': its path has a blank or a colon"
                )
            }
            return path
        }
        throw Failure(
            .unavailable,
            "there is no \(given ?? name) (looked at \(places.joined(separator: ", "))); "
                + "'make release' builds it, 'make install' installs it"
        )
    }

    /// Where the library is for a program of this path.
    static func places(of program: String) -> [String] {
        let directory = program.split(separator: "/").dropLast().map { "/\($0)" }.joined()
        return [
            "\(directory)/\(name)", "\(directory)/../lib/wirevale/\(name)",
            "\(directory)/../lib/\(name)", "\(directory)/../release/\(name)",
        ]
    }

    private static var ownPath: String {
        let path = unsafe realpath("/proc/self/exe", nil)
        defer { unsafe free(path) }
        return unsafe path.map { unsafe String(cString: $0) } ?? "/usr/local/bin/wirevale"
    }
}
