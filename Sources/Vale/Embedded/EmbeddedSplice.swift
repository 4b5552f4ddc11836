// A persistent port on two switches of this process: a wire between them (netmap-spec 2.15).

import Netmap

/// The port on the first switch, the one on the second, and the rings between them.
final class EmbeddedSplice {
    let near: EmbeddedPort
    let far: EmbeddedPort
    private var rings: [SpliceRing] = []

    init(_ near: EmbeddedPort, _ far: EmbeddedPort) {
        self.near = near
        self.far = far
        let geometry = near.adapter.geometry
        for index in 0..<geometry.receiveRings {
            join(near, far, index, slots: geometry.receiveSlots)
        }
        for index in 0..<geometry.transmitRings {
            join(far, near, index, slots: geometry.transmitSlots)
        }
    }

    private func join(_ from: EmbeddedPort, _ to: EmbeddedPort, _ index: Int, slots: Int) {
        let ring = SpliceRing(slots: slots)
        rings.append(ring)
        from.adopt(RingNumber(.receive, index), ring)
        to.adopt(RingNumber(.transmit, index), ring)
    }
}
