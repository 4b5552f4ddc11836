// A port that is an interface of the host.

import CNetmap
import Control
import Glibc
import Logging
import Netmap
import Ports

/// A tap interface, whose other end is the host's stack, a container, or a bridge.
@safe final class TapPort: HostPort {
    private let tap: TapOptions
    /// Descriptors that were passed for the port; it lives as long as their interface.
    private let passed: [OwnedDescriptor]
    private var interface: String?
    private var first: OwnedDescriptor?
    private var helper: BridgeHelper?

    init(_ options: NetdevOptions, _ tap: TapOptions, _ place: PortPlace) throws(QMPError) {
        self.tap = tap
        var passed: [OwnedDescriptor] = []
        for name in tap.files { passed.append(try unsafe place.takeFile(name)) }
        self.passed = passed
        unsafe super.init(options, pairs: tap.queues, place)
    }

    override func attach() throws {
        guard passed.isEmpty else {
            for (index, file) in passed.enumerated() { start(index, try TapDevice(adopting: file)) }
            return
        }
        if tap.helper != nil { return try askHelper() }
        let namespace = try tap.namespace.map(NetworkNamespace.open)
        for index in 0..<tap.queues {
            let device = try TapDevice(
                // The further queues are of the interface that the first has made.
                name: interface ?? tap.ifname,
                hasVnetHeader: tap.hasVnetHeader,
                isMultiQueue: tap.queues > 1,
                namespace: namespace
            )
            if index == 0 {
                do throws(SystemError) {
                    try device.setUp(mtu: tap.mtu, bridge: tap.bridge, namespace: namespace)
                } catch {
                    guard tap.isBridge, error.errno == EPERM else { throw error }
                    return try askHelper()
                }
                if tap.isPersistent { try device.setPersistent(true) }
            }
            start(index, device)
        }
    }

    private func start(_ index: Int, _ device: TapDevice) {
        interface = device.name
        if index == 0 { first = device.file }
        let reader = TapReader(file: device.file.number, hasVnetHeader: device.hasVnetHeader)
        unsafe start(
            index,
            source: HostQueue.make(InboxSource(.tap(reader), counters: rx)),
            sink: HostQueue.make(
                TapSink(file: device.file.number, hasVnetHeader: device.hasVnetHeader)
            ),
            files: [device.file]
        )
    }

    /// Has a program with the right to do so make the interface; the port works when it has.
    private func askHelper() throws {
        guard let bridge = tap.bridge else { return }
        let helper = try BridgeHelper(
            program: tap.helper ?? BridgeHelper.defaultProgram,
            bridge: bridge,
            hasVnetHeader: tap.hasVnetHeader,
            loop: loop
        )
        self.helper = helper
        helper.onEnd = { [unowned self] result in
            switch result {
            case .success(let file):
                do throws(SystemError) {
                    start(0, try TapDevice(adopting: file))
                    noteAttached()
                } catch {
                    lose("\(error)")
                }
            case .failure(let error): lose(error.description)
            }
        }
    }

    override func detach() {
        helper?.cancel()
        helper = nil
        interface = nil
        first = nil
    }

    override func explain(_ code: Int32) -> String {
        // EBADFD: the interface was taken from its descriptor.
        code == EBADFD ? "interface \(interface ?? "") is gone" : super.explain(code)
    }

    override var mtu: Int { first.flatMap(TapDevice.mtu) ?? tap.mtu ?? 1500 }

    override func describe(_ object: inout JSONObject) {
        if let interface { object["interface"] = .string(interface) }
        if let namespace = tap.namespace { object["netns"] = .string(namespace) }
        if let bridge = tap.bridge { object["bridge"] = .string(bridge) }
    }
}
