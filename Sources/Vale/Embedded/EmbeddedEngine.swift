// Switches, pipes and memory of a process's own: no engine, no socket, no other thread. What tests and
// simulators use; a program that works with it works with an engine.

import CNetmap
import Glibc
public import Netmap
import Synchronization

extension PortSpace {
    /// Switches inside this process, which nobody else sees.
    ///
    /// A sync is a function call: it classifies and delivers on the caller's thread, so that what was sent
    /// has arrived when it returns. Ports may be used by several threads. `nm0` and `nmsink0` are there as
    /// interfaces that swallow frames.
    public static func embedded() -> PortSpace { PortSpace(EmbeddedEngine()) }
}

/// What answers for `PortSpace.embedded`.
final class EmbeddedEngine: PortBackend {
    private struct State: ~Copyable {
        let device: NetmapDevice
        let fabric: EmbeddedFabric
        var bound: [DescriptorNumber: EmbeddedPort] = [:]
    }

    private let state: Mutex<State>

    init() {
        let fabric = EmbeddedFabric()
        let device = NetmapDevice(fabric: fabric)
        for name in ["nm0", "nmsink0"] { _ = try? device.addInterface(name: name) }
        nonisolated(unsafe) let unsafeDevice = device
        nonisolated(unsafe) let unsafeFabric = fabric
        // SAFETY: nobody else has either; from here on they are used inside of the lock only.
        state = unsafe Mutex(State(device: unsafeDevice, fabric: unsafeFabric))
    }

    var isEmbedded: Bool { true }

    func open() throws(PortError) -> PortHandle {
        let bell = try Doorbell()
        let number = state.withLock { state in
            let number = state.device.open()
            state.fabric.bells[number] = bell
            return number
        }
        return PortHandle(number, bell.waiting)
    }

    func control(_ handle: PortHandle, _ message: [UInt8]) throws(PortError) -> ControlAnswer {
        state.withLock { state in
            let (errno, reply) = state.device.control(handle.number, message, process: getpid())
            let adapter = state.device.bound(handle.number)?.adapter
            state.bound[handle.number] = adapter.flatMap { state.fabric.port(of: $0) }
            state.fabric.collect(state.device.adapters)
            let reason = errno == 0 ? nil : state.device.lastRefusal?.description
            return ControlAnswer(errno: errno, reply: reply, reason: reason)
        }
    }

    func attach(_ handle: PortHandle) throws(PortError) -> PortAttachment {
        let found = state.withLock { state -> PortAttachment? in
            guard let (binding, _, _) = state.device.attachment(of: handle.number),
                let (_, region, control) = state.device.bound(handle.number)
            else { return nil }
            return PortAttachment(binding, region: region, control: control)
        }
        guard let found else {
            throw PortError(.refused, errno: ENXIO, "the descriptor has no port open")
        }
        return found
    }

    func work(_ handle: PortHandle, _ ring: RingNumber) {
        state.withLock { state in
            guard let port = state.bound[handle.number] else { return }
            state.fabric.work(port, ring)
        }
    }

    func close(_ handle: PortHandle) {
        state.withLock { state in
            state.bound[handle.number] = nil
            state.device.close(handle.number)
            state.fabric.bells[handle.number] = nil
            state.fabric.collect(state.device.adapters)
        }
    }
}
