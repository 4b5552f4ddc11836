// netmap's host rings: the stack of the host as a port beside its interface.

import Control
import Netmap
import Ports

/// The host's end of an interface whose other end is a port of its own (`XDPPort`).
@safe final class HostStackPort: InterfacePort {
    private var stack: HostStack?
    private var mtuOfTap = 0

    init(_ options: NetdevOptions, _ stack: HostStackOptions, _ place: PortPlace) {
        unsafe super.init(options, interface: stack.ifname, pairs: 1, place)
    }

    override func connect(_ interface: NetworkInterface) throws {
        let stack = try HostStack(interface)
        self.stack = stack
        mtuOfTap = interface.mtu
        let file = stack.tap.file
        let reader = TapReader(file: file.number, hasVnetHeader: true)
        unsafe start(
            0,
            source: HostQueue.make(InboxSource(.tap(reader), counters: rx)),
            sink: HostQueue.make(TapSink(file: file.number, hasVnetHeader: true)),
            files: [file]
        )
    }

    override func disconnect() { stack = nil }

    override func suits(_ interface: NetworkInterface) -> Bool { interface.mtu == mtuOfTap }
}
