// Rings of a port that no program has: those between two switches, and the one by which an interface's frames leave.

import CNetmap
import Netmap

extension NetmapPort {
    // SAFETY (whole extension): as in NetmapPort.swift; what is taken out of a pair is freed when no worker can
    // have it any more.

    /// Serves one side of a ring between two switches as a ring of the port's own.
    func adopt(_ ring: RingNumber, _ splice: SpliceRing, bell: OwnedDescriptor) {
        let queue = unsafe PortQueue.make(splice, transmit: ring.direction == .transmit)
        krings[ring] = unsafe queue.word
        listeners[ring] = [bell]
        unsafe publishListeners(queue.kring, ring)
        startWork(ring)
    }

    /// Lets no more frames into the receive rings.
    func stopReceiving() { stop(krings.keys.filter { $0.direction == .receive }) }

    /// Ends `adopt` for all rings; what is still in them goes nowhere, and is counted.
    func disown() {
        var batch = FrameBatch()
        for ring in krings.keys where ring.direction == .transmit {
            endSource(ring.index)
            while let kring = unsafe kring(ring), unsafe kring.pointee.hasMoved {
                batch.removeAll()
                unsafe kring.pointee.collect(into: &batch, counters: rx)
                rx.drop(.linkDown, batch.count)
                unsafe kring.pointee.completeCollected()
            }
        }
        stop(Array(krings.keys))
        listeners = [:]
    }

    /// Takes frames that a switch sends to an interface behind which nobody is, or no longer.
    func sink(_ isOn: Bool) {
        let pair = unsafe plane.pointee.pairs
        let old = unsafe PortQueue(word: pair.pointee.sink)
        let new = unsafe isOn ? PortQueue.make(Chore(.swallow, ring: nil)).word : 0
        unsafe nm_store32(&pair.pointee.sinkEnabled, isOn ? 1 : 0)
        unsafe nm_store64_release(&pair.pointee.sink, new)
        pool.synchronize()
        unsafe old.free()
    }
}
