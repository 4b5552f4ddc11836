// A persistent port on two switches: a wire between them (netmap-spec 2.15). What the first switch sends to the
// port comes from it on the second, and back; nobody can have it open meanwhile.

import CNetmap
import Control
import Glibc
import Logging
import Netmap
import Vale

/// The wire: the port on the second switch, and the rings between it and the port on the first.
final class Splice {
    let far: NetmapPort
    private let rings: [SpliceRing]

    /// Joins two ports with as many rings each way as the adapter of the first has.
    init(_ near: NetmapPort, _ far: NetmapPort) throws(PortError) {
        self.far = far
        let geometry = near.adapter.geometry
        var bells: [Doorbell] = []
        for _ in 0..<geometry.receiveRings + geometry.transmitRings { bells.append(try Doorbell()) }
        var rings: [SpliceRing] = []
        func join(_ from: NetmapPort, _ to: NetmapPort, _ index: Int, slots: Int) {
            let ring = SpliceRing(slots: slots)
            let bell = bells[rings.count]
            rings.append(ring)
            from.adopt(RingNumber(.receive, index), ring, bell: bell.ringing)
            to.adopt(RingNumber(.transmit, index), ring, bell: bell.waiting)
        }
        for index in 0..<geometry.receiveRings {
            join(near, far, index, slots: geometry.receiveSlots)
        }
        for index in 0..<geometry.transmitRings {
            join(far, near, index, slots: geometry.transmitSlots)
        }
        self.rings = rings
    }
}

extension NetmapService {
    /// Puts a port that is on a switch on a second one.
    func splice(_ near: NetmapPort, _ place: ValeAddress) throws(NetmapError) {
        guard let number = engine.freeNumber else {
            throw NetmapError(ENOMEM, "no port number is free for '\(place)'")
        }
        let state = engine.switches[place.vale] ?? engine.makeSwitch(place.vale)
        let far = unsafe NetmapPort(
            near.adapter.mirrored(as: place),
            number: number,
            vale: state.plane,
            page: engine.page.claim(number, name: "\(place)", keeping: false),
            pool: engine.pool,
            logger: engine.logger
        )
        far.master = place.vale
        far.nameOnSwitch = place.port
        engine.ports[number] = far
        do throws(PortError) {
            splices[ObjectIdentifier(near.adapter)] = try Splice(near, far)
        } catch {
            engine.ports[number] = nil
            far.close()
            engine.page.release(number)
            if state.ports.isEmpty { engine.removeFiles(of: state) }
            throw NetmapError(error.errno, "'\(place)' cannot be joined: \(error)")
        }
        engine.enter(far, state)
        engine.reconsiderLingering()
        engine.logger.info("port added", metadata: ["port": "\(place)"])
    }

    /// Takes it off the second again.
    func unsplice(_ adapter: Adapter) {
        guard let splice = splices.removeValue(forKey: ObjectIdentifier(adapter)),
            let near = ports[ObjectIdentifier(adapter)],
            let state = engine.switches[splice.far.master ?? ""]
        else { return }
        let far = splice.far
        // First nobody fills the rings any more, then nobody empties them.
        near.stopReceiving()
        far.stopReceiving()
        near.disown()
        engine.ports[far.number] = nil
        engine.exit(far, state) {
            far.disown()
            far.close()
            engine.page.release(far.number)
        }
        withExtendedLifetime(splice) {}
        engine.reconsiderLingering()
        engine.logger.info("port removed", metadata: ["port": "\(far.ifname)"])
    }
}
