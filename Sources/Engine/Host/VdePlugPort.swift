// A client of VDE that has plugged in here: a port as long as its connection.

import CNetmap
import Control
import Logging
import Netmap
import Ports

/// The port of a client of a `vde` netdev with server=on.
@safe final class VdePlugPort: SocketPort {
    private let data: DatagramSocket
    private let client: String
    /// Told when frames cannot pass any more.
    var onEnd: (String) -> Void = { _ in }

    init(
        _ options: NetdevOptions,
        data: DatagramSocket,
        client: String,
        _ place: PortPlace
    ) {
        self.data = data
        self.client = client
        unsafe super.init(options, place)
    }

    // It is the client's, goes with that, and nobody makes it again.
    override var netdev: NetdevOptions? { nil }

    override func attach() throws {
        unsafe begin(
            source: HostQueue.make(DatagramSource(file: data.file.number)),
            sink: HostQueue.make(
                SocketSink(file: data.file.number, isDatagrams: true, isUnix: true, counters: tx)
            ),
            files: [data.file]
        )
    }

    override func lose(_ why: String) {
        reason = why
        // Ports are being walked over.
        loop.after(0) { [weak self] in self?.onEnd(why) }
    }

    override func roomFile() -> OwnedDescriptor? { data.file }

    override func describe(_ object: inout JSONObject) { object["peer"] = .string(client) }
}
