// What every port gets from the engine when it is made.

import CNetmap
import Logging

/// A port's number, its switch and counters, and the threads that it works with.
///
/// Control thread only.
@unsafe struct PortPlace {
    let number: UInt16
    let vale: UnsafeMutablePointer<SwitchPlane>
    let page: UnsafeMutablePointer<nm_port_counters>
    /// The control connection whose end is also the port's, if any.
    let owner: UInt64?
    let loop: EventLoop
    let pool: WorkerPool
    let logger: Logger
}
