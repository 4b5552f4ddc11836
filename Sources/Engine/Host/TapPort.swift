// A port that is an interface of the host.

import CNetmap
import Control
import Glibc
import Logging
import Netmap
import Ports

/// A tap interface, whose other end is the host's stack or a container.
@safe final class TapPort: HostPort {
    private let tap: TapOptions
    private var interface: String?

    init(_ options: NetdevOptions, _ tap: TapOptions, _ place: PortPlace) {
        self.tap = tap
        unsafe super.init(options, pairs: tap.queues, place)
    }

    override func attach() throws {
        for index in 0..<tap.queues {
            let device = try TapDevice(
                // The further queues are of the interface that the first has made.
                name: interface ?? tap.ifname,
                hasVnetHeader: tap.hasVnetHeader,
                isMultiQueue: tap.queues > 1
            )
            interface = device.name
            unsafe start(
                index,
                source: HostQueue.make(
                    InboxSource(
                        .tap(
                            TapReader(
                                file: device.file.number,
                                hasVnetHeader: device.hasVnetHeader
                            )
                        ),
                        counters: rx
                    )
                ),
                sink: HostQueue.make(
                    TapSink(file: device.file.number, hasVnetHeader: device.hasVnetHeader)
                ),
                files: [device.file]
            )
        }
    }

    override func detach() { interface = nil }

    override func explain(_ code: Int32) -> String {
        // EBADFD: the interface was taken from its descriptor.
        code == EBADFD ? "interface \(interface ?? "") is gone" : super.explain(code)
    }

    override func describe(_ object: inout JSONObject) {
        if let interface { object["interface"] = .string(interface) }
    }
}
