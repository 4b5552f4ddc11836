// What all ports have in common, whoever is behind them.

import CNetmap
import Control
import Logging
import Netmap

/// A port: the plane that workers see, and what operators see of it.
///
/// Control thread only. The plane belongs to it and is freed by `close`.
@safe class Port {
    /// The name that everybody uses: `vale0:vm1`, or what a netmap program called its pipe.
    let ifname: String
    /// The switch that it is on; nil for ports that are on none.
    var master: String?
    /// Its id for `netdev_del`.
    let id: String
    let number: UInt16
    /// The control connection whose end is also this port's, if any.
    let owner: UInt64?
    /// How it makes its senders wait, if it does.
    private(set) var lossless: LosslessOptions?
    let plane: UnsafeMutablePointer<PortPlane>
    let pool: WorkerPool
    let logger: Logger
    /// Why the port does not work, for people.
    var reason: String?

    /// Makes a port of a plane, which it owns from now on.
    init(
        ifname: String,
        master: String?,
        id: String,
        owner: UInt64?,
        lossless: LosslessOptions?,
        plane: UnsafeMutablePointer<PortPlane>,
        pool: WorkerPool,
        logger: Logger
    ) {
        self.ifname = ifname
        self.master = master
        self.id = id
        number = unsafe plane.pointee.number
        self.owner = owner
        self.lossless = lossless
        unsafe self.plane = unsafe plane
        self.pool = pool
        self.logger = Port.logger(logger, for: ifname)
    }

    /// A logger that says which port it is about.
    static func logger(_ logger: Logger, for ifname: String) -> Logger {
        var logger = logger
        logger[metadataKey: "port"] = "\(ifname)"
        return logger
    }

    /// Begins to work.
    ///
    /// - Parameter isRestored: whether it was there with the engine before this one, so that what is missing may come.
    /// - Throws: why it cannot.
    func open(isRestored: Bool) throws {}

    /// Ends everything, and waits until no worker can use the port; its number may be given away then.
    func close() {
        pool.synchronize()
        unsafe plane.pointee.pairs.deallocate()
        unsafe plane.deallocate()
    }

    /// Changes how it makes its senders wait; waiting ones try again with the next recall.
    func setLossless(_ options: LosslessOptions?) {
        lossless = options
        unsafe plane.pointee.patience = UInt64(options?.timeout ?? 0) * 1_000_000
        unsafe plane.pointee.isLossless = options != nil
    }

    /// Looks at what workers have found.
    func attend() {}

    /// What `netdev_add` made it of; nil for ports that it did not make.
    var netdev: NetdevOptions? { nil }
    /// What kind of port it is: `netdev_add`'s type.
    var type: String { "netmap" }
    /// Whether anybody is behind it.
    var isConnected: Bool { true }
    /// Whether the switch sends it frames; what only makes other ports has none.
    var carriesFrames: Bool { true }
    /// Whether frames pass.
    var isRunning: Bool { true }
    /// Queue pairs that there are.
    var queues: Int { 1 }
    /// The longest payload of a frame, as far as it was agreed on.
    var mtu: Int { 1500 }
    /// Whether the port goes with whoever made it.
    var isEphemeral: Bool { owner != nil }
    /// What `set_link` said.
    var isLinkUp: Bool {
        get { unsafe nm_load32(&plane.pointee.linkUp) != 0 }
        set {
            unsafe nm_store32(&plane.pointee.linkUp, newValue ? 1 : 0)
            // Workers do not ask a port for kicks while its link is down, nor look at one that waits.
            pool.recall()
        }
    }
    /// Frames from the port.
    var rx: DirectionCounters { unsafe plane.pointee.rx }
    /// Frames to the port.
    var tx: DirectionCounters { unsafe plane.pointee.tx }

    /// Adds the members of `query-ports` that only this kind has.
    func describe(_ object: inout JSONObject) {}
}
