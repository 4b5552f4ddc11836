// How commands end when they cannot do their work: one line on standard error and an exit status
// of sysexits.h, which scripts can branch on.

internal import Control
internal import Glibc

/// Exit statuses, with the numbers of sysexits.h.
enum ExitStatus: Int32 {
    case failure = 1
    case usage = 64
    case badData = 65
    case noInput = 66
    case unavailable = 69
    case cannotCreate = 73
    case tryAgain = 75
    case noPermission = 77
}

/// Why a command ends.
struct Failure: Error {
    let status: ExitStatus
    let message: String

    init(_ status: ExitStatus, _ message: String) {
        self.status = status
        self.message = message
    }

    /// Gives any error its exit status.
    init(_ error: any Error) {
        switch error {
        case let failure as Failure: self = failure
        case let error as QMPError:
            switch error.class {
            case .deviceNotFound: self.init(.noInput, error.description)
            case .commandNotFound: self.init(.unavailable, error.description)
            case .genericError: self.init(.failure, error.description)
            }
        case let error as ControlClient.ConnectionError: self.init(error)
        case let error as EngineLauncher.LaunchError:
            switch error {
            case .directory(let error): self.init(error)
            case .connection(let error): self.init(error)
            case .failed(let text): self.init(.unavailable, text)
            }
        case let error as RuntimeDirectory.AccessError: self.init(error)
        case is QemuCommandLine.TranslationError, is ValePortName.NameError:
            self.init(.usage, "\(error)")
        default: self.init(.failure, "\(error)")
        }
    }

    private init(_ error: ControlClient.ConnectionError) {
        let status: ExitStatus =
            switch error.kind {
            case .notRunning, .broken: .unavailable
            case .permission: .noPermission
            case .timeout: .tryAgain
            }
        self.init(status, error.description)
    }

    private init(_ error: RuntimeDirectory.AccessError) {
        self.init(error.kind == .permission ? .noPermission : .cannotCreate, error.description)
    }

    /// Prints the message and ends the process.
    func exit() -> Never {
        Terminal.diagnose(message)
        Glibc.exit(status.rawValue)
    }
}

/// Standard output and standard error as people see them.
enum Terminal {
    /// Whether a person reads the output.
    static var isOutputInteractive: Bool { isatty(1) == 1 }
    /// Whether a person types the input.
    static var isInputInteractive: Bool { isatty(0) == 1 }

    /// Whether output may have emphasis: a terminal, and nobody asked for none.
    static var mayEmphasise: Bool {
        guard isOutputInteractive else { return false }
        return unsafe getenv("NO_COLOR") == nil
    }

    /// Prints a line for people on standard error.
    static func diagnose(_ text: String) { write("wirevale: \(text)\n", to: 2) }

    /// Prints text as it is on standard output, at once.
    static func output(_ text: String) { write(text, to: 1) }

    private static func write(_ text: String, to descriptor: Int32) {
        fflush(nil)
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            // SAFETY: the bytes are alive during the call and their count is passed with them.
            let count = unsafe rest.withUnsafeBytes {
                unsafe Glibc.write(descriptor, $0.baseAddress, $0.count)
            }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }
}
