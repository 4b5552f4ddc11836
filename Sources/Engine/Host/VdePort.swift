// A port that is plugged into somebody else's VDE switch.

import CNetmap
import Control
import Glibc
import Logging
import Netmap
import Ports

/// A plug in a running vde_switch, or in another engine's directory.
@safe final class VdePort: SocketPort {
    private let vde: VdeOptions
    /// While the plug is there, and before the switch has answered.
    private var control: (file: OwnedDescriptor, token: UInt64)?
    private var data: DatagramSocket?
    private var answerTimer: UInt64?
    private var answer: [UInt8] = []

    private static let patience = 5.0

    init(_ options: NetdevOptions, _ vde: VdeOptions, _ place: PortPlace) {
        self.vde = vde
        unsafe super.init(options, place)
    }

    override func attach() throws {
        let path = vde.directory + "/ctl"
        let file = OwnedDescriptor(
            try SystemError.check(
                unsafe nm_unix_connect(path),
                "connect to the VDE switch at \(path)"
            )
        )
        let data = try DatagramSocket("\(vde.directory)/.\(getpid())-\(number)")
        let access = SocketAccess(mode: vde.mode, group: vde.group)
        try access.apply(to: data.path)
        let request = VdeRequest(
            path: data.path,
            port: vde.port,
            description: "wirevale \(ifname) user=\(getuid()) pid=\(getpid())"
        )
        let message = request.bytes
        let sent = unsafe nm_send(file.number, message, message.count, nil, 0)
        guard sent == Int64(message.count) else {
            throw SystemError(
                "ask the VDE switch at \(path)",
                result: sent < 0 ? sent : -Int64(EPIPE)
            )
        }
        answer = []
        self.data = data
        control = (file, try loop.watch(file) { [unowned self] _ in readAnswer() })
        answerTimer = loop.after(VdePort.patience) { [unowned self] in
            answerTimer = nil
            lose("the VDE switch at \(vde.directory) does not answer")
        }
    }

    /// The switch's address, and later its end.
    private func readAnswer() {
        guard let control, let data else { return }
        var buffer = [UInt8](repeating: 0, count: VdeAddress.length)
        let n = unsafe nm_receive(control.file.number, &buffer, buffer.count, nil, nil)
        if n == -Int64(EAGAIN) { return }
        guard n > 0 else {
            return lose(
                isConnected
                    ? "the VDE switch at \(vde.directory) has ended"
                    : "the VDE switch at \(vde.directory) refuses: is port \(vde.port) taken?"
            )
        }
        guard !isConnected else { return }
        answer += buffer.prefix(Int(n))
        guard answer.count >= VdeAddress.length else { return }
        guard let address = VdeAddress(Array(answer.prefix(VdeAddress.length))) else {
            return lose("the VDE switch at \(vde.directory) answers with no address")
        }
        do throws(SystemError) {
            _ = try SystemError.check(
                unsafe nm_unix_datagram_connect(data.file.number, address.path),
                "connect to \(address.path)"
            )
        } catch {
            return lose("\(error)")
        }
        // Of the switch: it is done by those who may, and others have no say.
        try? SocketAccess(mode: vde.mode, group: vde.group).apply(to: address.path)
        // It is connected, and nobody else is to come.
        data.removePath()
        if let answerTimer { loop.cancel(answerTimer) }
        answerTimer = nil
        unsafe begin(
            source: HostQueue.make(DatagramSource(file: data.file.number)),
            sink: HostQueue.make(
                SocketSink(file: data.file.number, isDatagrams: true, isUnix: true, counters: tx)
            ),
            files: [data.file]
        )
        noteAttached()
    }

    override func detach() {
        if let control { loop.unwatch(control.file, control.token) }
        if let answerTimer { loop.cancel(answerTimer) }
        control = nil
        answerTimer = nil
        data = nil
    }

    override func roomFile() -> OwnedDescriptor? { data?.file }

    override func describe(_ object: inout JSONObject) {
        object["peer"] = .string(vde.directory)
    }
}
