// QEMU's qemu-bridge-helper: a program with the right to make a tap interface and put it on a bridge, which
// passes the interface's descriptor back. So a user's engine gets onto the bridges of /etc/qemu/bridge.conf.

import CNetmap
import Control
import Glibc
import Netmap

/// One run of a bridge helper.
///
/// Control thread only.
final class BridgeHelper {
    /// Where Debian has QEMU's.
    static let defaultProgram = "/usr/lib/qemu/qemu-bridge-helper"

    /// Called once, with the interface's descriptor or why there is none.
    var onEnd: (Result<OwnedDescriptor, QMPError>) -> Void = { _ in }

    private let program: String
    private let loop: EventLoop
    private let socket: OwnedDescriptor
    private var token: UInt64?
    private let process: pid_t

    /// Starts the program.
    init(
        program: String,
        bridge: String,
        hasVnetHeader: Bool,
        loop: EventLoop
    ) throws {
        self.program = program
        self.loop = loop
        var pair: [Int32] = [-1, -1]
        let kind = Int32(SOCK_STREAM.rawValue) | O_CLOEXEC
        guard unsafe socketpair(AF_UNIX, kind, 0, &pair) == 0 else {
            throw SystemError("socketpair", result: -errno)
        }
        socket = OwnedDescriptor(pair[0])
        let theirs = OwnedDescriptor(pair[1])
        _ = nm_set_nonblocking(pair[0])
        var arguments = [program]
        if hasVnetHeader { arguments.append("--use-vnet") }
        arguments += ["--fd=3", "--br=\(bridge)"]
        process = try ChildProcess.spawn(arguments, passing: [(theirs, 3)])
        token = try loop.watch(socket) { [unowned self] _ in receive() }
    }

    /// Forgets about it.
    func cancel() {
        if let token { loop.unwatch(socket, token) }
        token = nil
        onEnd = { _ in }
        ChildProcess.reap(process)
    }

    private func receive() {
        var byte: UInt8 = 0
        var file: Int32 = -1
        var count: Int32 = 1
        let n = unsafe nm_receive(socket.number, &byte, 1, &file, &count)
        if n == -Int64(EAGAIN) { return }
        let onEnd = onEnd
        cancel()
        if n > 0, count > 0 {
            onEnd(.success(OwnedDescriptor(received: file)))
        } else {
            onEnd(
                .failure(
                    QMPError(
                        "\(program) passed no interface; its own message is in the engine's log "
                            + "(is the bridge there, and allowed in /etc/qemu/bridge.conf?)"
                    )
                )
            )
        }
    }
}
