// What the device asks of its surroundings: the engine, or the switch inside a program.

/// Why a request failed: the errno that the program gets, and the sentence for whoever looks for it.
package struct NetmapError: Error, Equatable, CustomStringConvertible {
    /// What the program sees.
    package let errno: Int32
    /// What was wrong, and where.
    package let description: String

    package init(_ errno: Int32, _ description: String) {
        self.errno = errno
        self.description = description
    }
}

/// A port on a switch, as VALE_LIST tells it.
package struct ListedPort: Equatable, Sendable {
    package let address: ValeAddress
    /// The switch's number, which it keeps as long as it is there.
    package let valeIndex: Int
    /// The port's number on the switch, which it keeps as long as it is there.
    package let portIndex: Int

    package init(_ address: ValeAddress, valeIndex: Int, portIndex: Int) {
        self.address = address
        self.valeIndex = valeIndex
        self.portIndex = portIndex
    }

    /// What VALE_LIST says of a port that is not there.
    static let noPort = 255
}

/// Identifies an open descriptor; never used twice.
package typealias DescriptorNumber = UInt64

/// Moves frames for a `NetmapDevice`, and knows the ports of switches that are none of its.
///
/// All calls come from the device's thread.
package protocol NetmapFabric: AnyObject {
    /// Makes `adapter` the port `port` of switch `vale`, which is made if there is none.
    ///
    /// A persistent port that is on a switch already is spliced: what that switch sends to it goes out on
    /// `vale`, and back. An interface that joins has no rings in memory: whoever serves it passes its frames
    /// on; those of one behind which nobody is (`Adapter.isSink`) are counted and gone. The frames of an
    /// adapter that is on no switch are taken and dropped.
    ///
    /// - Throws: EBUSY or EEXIST if the name is taken (by a guest, say).
    func join(_ adapter: Adapter, switch vale: String, port: String) throws(NetmapError)

    /// Takes a port off its switch; the switch goes with its last port.
    func leave(_ adapter: Adapter, switch vale: String, port: String)

    /// Makes an interface of the host a port of its name on switch `vale`, without rings here.
    ///
    /// - Returns: false if there is no such interface.
    /// - Throws: why it cannot be one.
    func attachInterface(
        _ name: String,
        switch vale: String,
        withHost: Bool
    ) throws(NetmapError) -> Bool

    /// Takes an interface of the host off its switch.
    ///
    /// - Returns: false if there is none of this name.
    func detachInterface(_ name: String, switch vale: String) -> Bool

    /// Rings have got memory, and somebody has bound them: serve them.
    ///
    /// Their krings in the control file are at their beginning (TX: hwtail = slots - 1). The rings at a
    /// pipe's other end start with them, in a second call, whether anybody has those bound or not.
    func start(_ adapter: Adapter, _ rings: [RingNumber])

    /// Rings are about to lose their memory: on return nobody touches it any more.
    func stop(_ adapter: Adapter, _ rings: [RingNumber])

    /// The descriptors to send a byte when a ring has news, by ring; replaces what was said before.
    func setListeners(_ adapter: Adapter, _ listeners: [RingNumber: [DescriptorNumber]])

    /// `monitor`'s receive rings get what passes through rings of `parent`, from now on.
    ///
    /// Ring i of the parent goes to ring i of the monitor, host ring h to host ring h. Both have been
    /// started, and `unwatch` comes before either is stopped.
    ///
    /// - Parameters:
    ///   - parent: whose frames are seen.
    ///   - rings: where.
    ///   - monitor: who sees them.
    ///   - isCopy: copies, or zero-copy swaps in the memory that both share (netmap-spec 2.14).
    func watch(
        _ parent: Adapter,
        _ rings: [RingNumber],
        by monitor: Adapter,
        isCopy: Bool
    )

    /// Ends `watch` for all rings of `monitor`; on return nobody touches it any more.
    func unwatch(_ monitor: Adapter)

    /// Wakes whoever has these rings bound: their mode has changed (a monitor's parent has left).
    func alert(_ adapter: Adapter, _ rings: [RingNumber])

    /// The virtio-net header length of a port has changed.
    func headerLengthChanged(_ adapter: Adapter)

    /// An interface of the kernel that the fabric can serve, by its name.
    func kernelInterface(_ name: String) -> KernelInterface?

    /// Ports of all switches by their numbers: what VALE_LIST walks through. Guests' are in it.
    var valePorts: [ListedPort] { get }
}

/// Where there is no host whose interfaces could be attached.
extension NetmapFabric {
    package func attachInterface(
        _ name: String,
        switch vale: String,
        withHost: Bool
    ) throws(NetmapError) -> Bool { false }

    package func detachInterface(_ name: String, switch vale: String) -> Bool { false }

    package func kernelInterface(_ name: String) -> KernelInterface? { nil }
}

/// What a device has to know of an interface of the kernel.
package struct KernelInterface {
    /// The longest payload of its frames.
    package let mtu: Int

    package init(mtu: Int) { self.mtu = mtu }
}
