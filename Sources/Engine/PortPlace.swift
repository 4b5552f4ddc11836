// What every port gets from the engine when it is made.

import CNetmap
import Control
import Logging
import Netmap

/// A port's number, its switch and counters, and the threads that it works with.
///
/// Control thread only.
@unsafe struct PortPlace {
    let number: UInt16
    let vale: UnsafeMutablePointer<SwitchPlane>
    let page: UnsafeMutablePointer<nm_port_counters>
    /// The control connection whose end is also the port's, if any.
    let owner: UInt64?
    /// Takes the descriptor that the client who makes the port has named with `getfd`.
    let takeFile: (String) throws(QMPError) -> OwnedDescriptor
    let loop: EventLoop
    let pool: WorkerPool
    let logger: Logger
}
