// QEMU's dgram netdev, and the datagrams of its socket netdev: each frame is one, to a socket or a group.

import CNetmap
import Control
import Glibc
import Logging
import Netmap
import Ports

/// A port whose frames are datagrams.
///
/// Control thread only.
@safe final class DatagramPort: SocketPort {
    private let plan: DatagramPlan
    private let given: OwnedDescriptor?
    private let lookup: AddressLookup
    private var timer: UInt64?
    private var local = nm_address()
    private var remote = nm_address()
    private var file: OwnedDescriptor?

    /// Makes a port.
    ///
    /// - Parameters:
    ///   - options: of the port.
    ///   - plan: where datagrams come from and go to.
    ///   - given: the socket, if there is one already.
    ///   - place: what the engine gives it.
    init(
        _ options: NetdevOptions,
        _ plan: DatagramPlan,
        given: OwnedDescriptor?,
        _ place: PortPlace
    ) {
        self.plan = plan
        self.given = given
        unsafe lookup = AddressLookup(place.loop)
        unsafe super.init(options, place)
    }

    /// Makes a port, of the socket that its plan names if it names one.
    convenience init(
        _ options: NetdevOptions,
        _ plan: DatagramPlan,
        _ place: PortPlace
    ) throws(QMPError) {
        var file: OwnedDescriptor?
        if case .file(let name) = plan { file = unsafe try place.takeFile(name) }
        unsafe self.init(options, plan, given: file, place)
    }

    // MARK: Names

    override func open(isRestored: Bool) throws {
        var failure: AddressLookup.Failure?
        var isDone = false
        var isLate = false
        find { [unowned self] why in
            isDone = true
            failure = why
            if isLate { openLate(why) }
        }
        guard isDone else {
            isLate = true
            reason = "looking hosts up"
            return
        }
        if let failure { throw failure }
        try super.open(isRestored: isRestored)
    }

    private func openLate(_ why: AddressLookup.Failure?) {
        do {
            if let why { throw why }
            try attach()
            noteAttached()
        } catch {
            stopAll()
            detach()
            reason = "\(error)"
            logger.info("\(error)")
            timer = loop.after(5) { [unowned self] in
                timer = nil
                find { [unowned self] why in openLate(why) }
            }
        }
    }

    /// Finds both addresses, then calls `done`.
    private func find(_ done: @escaping (AddressLookup.Failure?) -> Void) {
        let both: [(InetAddress, ReferenceWritableKeyPath<DatagramPort, nm_address>)]
        switch plan {
        case .pair(.inet(let here), .inet(let there)): both = [(here, \.local), (there, \.remote)]
        case .group(let group, let interface):
            let address = InetAddress(host: interface, port: group.port, family: 4)
            both = (interface.isEmpty ? [] : [(address, \.local)]) + [(group, \.remote)]
        case .pair(.unix(let here), .unix(let there)):
            do throws(SystemError) {
                local = try nm_address.unix(here)
                remote = try nm_address.unix(there)
                return done(nil)
            } catch {
                return done(AddressLookup.Failure(description: "\(error)"))
            }
        default: return done(nil)
        }
        find(both[...], done)
    }

    private func find(
        _ rest: ArraySlice<(InetAddress, ReferenceWritableKeyPath<DatagramPort, nm_address>)>,
        _ done: @escaping (AddressLookup.Failure?) -> Void
    ) {
        guard let (address, place) = rest.first else { return done(nil) }
        lookup.find(address, isListening: place == \.local) { [unowned self] result in
            switch result {
            case .success(let found):
                self[keyPath: place] = found[0]
                find(rest.dropFirst(), done)
            case .failure(let failure): done(failure)
            }
        }
    }

    // MARK: Sockets

    override func attach() throws {
        switch plan {
        case .group(let group, let interface):
            let receiver = OwnedDescriptor(
                try SystemError.check(
                    unsafe nm_multicast_receive(&remote, &local),
                    "join \(group)" + (interface.isEmpty ? "" : " at \(interface)")
                )
            )
            let sender = OwnedDescriptor(
                try SystemError.check(
                    unsafe nm_multicast_send(&remote, &local),
                    "send to \(group)" + (interface.isEmpty ? "" : " from \(interface)")
                )
            )
            var own = nm_address()
            _ = unsafe nm_socket_name(sender.number, &own)
            begin(receiver, sender: sender, own: own, to: nil)
        case .pair(let here, _):
            if case .unix(let path) = here { try SocketFile.clear(path, type: .datagrams) }
            let file = OwnedDescriptor(
                try SystemError.check(unsafe nm_datagram_bind(&local), "bind \(here)")
            )
            begin(file, sender: file, own: nil, to: remote)
        case .file:
            guard let given, nm_socket_kind(given.number) == Int32(SOCK_DGRAM.rawValue) else {
                throw QMPError("the descriptor is not a datagram socket")
            }
            guard unsafe nm_socket_peer(given.number, &remote) == 0 else {
                throw QMPError("the descriptor is a socket that is connected to nobody")
            }
            begin(given, sender: given, own: nil, to: nil)
        }
    }

    private func begin(
        _ receiver: OwnedDescriptor,
        sender: OwnedDescriptor,
        own: nm_address?,
        to: nm_address?
    ) {
        file = sender
        unsafe begin(
            source: HostQueue.make(DatagramSource(file: receiver.number, own: own)),
            sink: HostQueue.make(
                SocketSink(
                    file: sender.number,
                    isDatagrams: true,
                    isUnix: isUnix,
                    to: to,
                    counters: tx
                )
            ),
            files: receiver === sender ? [receiver] : [receiver, sender]
        )
    }

    private var isUnix: Bool {
        if case .pair(.unix, _) = plan { return true }
        return given != nil && remote.text == nil
    }

    override func detach() {
        guard file != nil else { return }
        file = nil
        if case .pair(.unix(let path), _) = plan { _ = unsafe unlink(path) }
    }

    override func close() {
        if let timer { loop.cancel(timer) }
        timer = nil
        lookup.cancel()
        super.close()
    }

    /// A unix socket can always be written to; one that is connected to the receiver can when that has room.
    override func roomFile() -> OwnedDescriptor? {
        guard case .pair(.unix, _) = plan else { return file }
        let probe = unsafe nm_datagram_probe(&remote)
        return probe < 0 ? nil : OwnedDescriptor(probe)
    }

    override func describe(_ object: inout JSONObject) {
        switch plan {
        case .pair(let here, let there):
            if case .unix(let path) = here { object["socket"] = .string(path) }
            object["peer"] = .string("\(there)")
        case .group(let group, _): object["peer"] = .string("\(group)")
        case .file: break
        }
    }
}
