// A virtual machine of the demo: QEMU as a child process, its serial console on a socket pair.
// The guest's side of the conversation is scripts/guest/init.

internal import Control
internal import Glibc

/// A guest that is started, spoken to, and ended.
final class DemoGuest {
    /// Why a guest did not do what it was told.
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    let number: Int
    var name: String { "vm\(number)" }
    var port: String { "vale0:vm\(number)" }
    var address: String { "10.77.0.\(number)" }
    var mac: String { "52:54:00:00:77:" + (number < 16 ? "0" : "") + String(number, radix: 16) }

    /// QEMU's standard error, and what the console said, for when something goes wrong.
    let log: String
    private(set) var console: Int32 = -1
    private var process: pid_t = 0
    private var calls = 0
    private var heard: [UInt8] = []
    private(set) var isSilent = false

    init(number: Int, directory: String) {
        self.number = number
        log = "\(directory)/vm\(number).log"
    }

    /// The command as a user would type it, in groups that belong on one line each.
    func command(kernel: String, initrd: String, accelerator: String) -> [[String]] {
        [
            ["qemu", "-accel", accelerator, "-cpu", "max", "-m", "192"],
            ["-netdev", "netmap,id=net0,ifname=\(port)"],
            ["-device", "virtio-net-pci,netdev=net0,mac=\(mac)"],
            ["-kernel", kernel, "-initrd", initrd],
            [
                "-append",
                // The guest ends itself after ten minutes, should nobody be left to end it.
                "console=ttyS0 quiet panic=-1 no_timer_check mitigations=off wv.name=\(name) "
                    + "wv.ip=\(address)/24 wv.serve=1 wv.life=600",
            ],
            [
                "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial",
                "stdio",
            ],
        ]
    }

    /// Starts it in a process group of its own, so that a terminal's Ctrl-C reaches only the demo.
    func start(_ arguments: [String], runtimeDirectory: String) throws {
        var ends: [Int32] = [-1, -1]
        let kind = Int32(SOCK_STREAM.rawValue) | O_CLOEXEC
        guard unsafe socketpair(AF_UNIX, kind, 0, &ends) == 0 else {
            throw Failure(description: "no socket pair for \(name): error \(errno)")
        }
        defer { close(ends[1]) }
        let child = DemoChild(
            program: "/proc/self/exe",
            arguments: ["wirevale"] + arguments,
            environment: ["WIREVALE_RUNTIME_DIR=\(runtimeDirectory)"]
        )
        process = try child.spawn(input: ends[1], output: ends[1], errors: log)
        console = ends[0]
        heard = []
        isSilent = false
    }

    /// Takes what the console has to say; called when the descriptor is readable.
    func listen() {
        var buffer = [UInt8](repeating: 0, count: 16384)
        // SAFETY: the buffer is alive during the call and its length is passed with it.
        let count = unsafe buffer.withUnsafeMutableBytes {
            unsafe recv(console, $0.baseAddress, $0.count, Int32(MSG_DONTWAIT))
        }
        if count > 0 {
            heard += buffer[..<count].filter { $0 != UInt8(ascii: "\r") }
        } else if count == 0 || errno != EAGAIN && errno != EINTR {
            isSilent = true
        }
    }

    /// The lines before a line that starts with `mark`, and that line; both are then forgotten.
    func take(upTo mark: String) -> (before: String, line: String)? {
        let text = String(decoding: heard, as: UTF8.self)
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        lines.removeLast()  // Not ended yet.
        guard let index = lines.firstIndex(where: { $0.hasPrefix(mark) }) else { return nil }
        let before = lines[..<index].joined(separator: "\n")
        heard.removeFirst(lines[...index].reduce(0) { $0 + $1.utf8.count + 1 })
        return (before, String(lines[index]))
    }

    /// Has the guest run a shell command; returns the number by which its answer is known.
    func send(_ command: String, seconds: Int) -> Int {
        calls += 1
        let line = [UInt8]("run \(calls) \(seconds) \(command)\n".utf8)
        // SAFETY: the array is alive during the call and its length is passed with it.
        _ = unsafe line.withUnsafeBytes {
            unsafe Glibc.send(console, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
        }
        return calls
    }

    /// Ends QEMU and waits for it; safe to call at any time and again.
    func end() {
        if process > 0 {
            kill(process, SIGKILL)
            waitpid(process, nil, 0)
            process = 0
        }
        if console >= 0 {
            close(console)
            console = -1
        }
    }

    /// What to show when it failed.
    var lastWords: String {
        let errors = DemoChild.tail(of: log, lines: 6)
        let screen = String(decoding: heard.suffix(600), as: UTF8.self)
        return [errors, screen].filter { !$0.isEmpty }.joined(separator: "\n")
    }
}
