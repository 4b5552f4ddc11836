// Coming back: what is written down while the engine runs, and what the next one makes of it. Guests
// go on running meanwhile; their front-ends connect again by themselves, or are connected to.

import CNetmap
import Control
import Glibc
import Logging
import Netmap
import Vale
import Wire

extension EngineState {
    /// What the ports are called in the counter page.
    var counterNames: [UInt16: String] {
        Dictionary(uniqueKeysWithValues: ports.map { ($0.number, "\($0.options.port)") })
    }
}

extension Engine {
    /// What the next engine would need now.
    var state: EngineState {
        var state = EngineState()
        state.chardevs = chardevs.values.sorted { $0.id < $1.id }
        // Programs' ports end with the engine that their memory is shared with.
        state.ports = ports.values.filter(isRestorable).sorted { $0.number < $1.number }
            .compactMap { port in
                port.netdev.map {
                    var options = $0
                    options.policy = port.policy
                    return EngineState.Port(
                        number: port.number,
                        options: options,
                        isLinkUp: port.isLinkUp
                    )
                }
            }
        state.guests = guests.values.map(\.options).sorted { $0.name < $1.name }
        for vale in switches.values.sorted(by: { $0.name < $1.name }) {
            let plane = unsafe vale.plane
            state.switches.append(
                EngineState.Vale(name: vale.name, options: vale.options, isKept: vale.isKept)
            )
            let table = unsafe plane.pointee.vale.table.contents(now: 0, ageing: 0)
            let isKept = { (number: UInt16) in self.ports[number].map(self.isRestorable) ?? false }
            state.stations += table.filter { $0.isStatic && isKept($0.port) }.sorted {
                $0.mac < $1.mac
            }.map {
                EngineState.Station(
                    mac: MACAddress(rawValue: $0.mac),
                    vlan: $0.vlan,
                    port: $0.port
                )
            }
        }
        state.hubPorts = hubPorts.values.map(\.options).sorted { $0.id < $1.id }
        return state
    }

    /// Whether the next engine can have a port again.
    ///
    /// A program's memory ends with this one, and what lives as
    /// long as a connection does too, unless a guest comes back to it.
    private func isRestorable(_ port: Port) -> Bool {
        port is VhostUserPort || (port as? StreamPort)?.comesBack == true
            || (port.netdev.map { !$0.isEphemeral && $0.backend.options.isRestorable } ?? false)
    }

    /// Ports of guests and other vhost-user front-ends, by number.
    var guestPorts: [VhostUserPort] {
        ports.values.compactMap { $0 as? VhostUserPort }.sorted { $0.number < $1.number }
    }

    /// Writes down what changed.
    func save() {
        guard let savedState else { return }
        let state = state
        guard state != savedState else { return }
        self.savedState = state
        if state.isEmpty { return stateFile.remove() }
        do throws(SystemError) {
            try stateFile.write(state)
        } catch {
            logger.error("ports would not survive an end of the engine now: \(error)")
        }
    }

    /// Makes everything again that the engine before this one had.
    func restore(_ before: EngineState) {
        for chardev in before.chardevs { chardevs[chardev.id] = chardev }
        for vale in before.switches {
            let numbers = Set(
                before.ports.filter { $0.options.port.master == vale.name }.map(\.number)
            )
            guard !numbers.isEmpty || vale.isKept else { continue }
            let made = makeSwitch(vale.name, keeping: numbers)
            made.options = vale.options
            made.isKept = vale.isKept
            switches[vale.name] = made
        }
        for port in before.ports { restore(port) }
        for station in before.stations {
            guard let port = ports[station.port], let vale = switches[port.master ?? ""] else {
                continue
            }
            _ = unsafe vale.plane.pointee.vale.table.addStatic(
                station.mac.rawValue,
                vlan: station.vlan,
                on: port.number
            )
        }
        for options in before.guests { restore(options) }
        for options in before.hubPorts {
            do throws(QMPError) {
                try addPort(options, owner: nil)
            } catch {
                logger.error("hubport \(options.id) cannot be made again: \(error.description)")
            }
        }
        for vale in switches.values { dropIfUnused(vale) }
        savedState = EngineState()
        // Once more, even if nothing is there: a file that could only be used in part is replaced.
        if state.isEmpty { stateFile.remove() } else { save() }
        guard !before.isEmpty else { return }
        logger.info(
            "went on from the engine before",
            metadata: ["ports": "\(ports.count)", "guests": "\(guests.count)"]
        )
    }

    private func restore(_ port: EngineState.Port) {
        do throws(QMPError) {
            try addPort(port.options, owner: nil, restoring: port)
        } catch {
            logger.error("port \(port.options.port) cannot be made again: \(error.description)")
            return
        }
        guard port.options.isEphemeral || port.options.plug != nil,
            let made = ports[port.number], !made.isConnected
        else { return }
        expectReturn(of: made, within: configuration.returnSeconds)
    }

    /// Gives the front-end of an orphaned port so many seconds to come; nil: it is there.
    func expectReturn(of port: Port, within seconds: Double?) {
        if case .some(.some(let timer)) = orphans[port.number] { loop.cancel(timer) }
        guard let seconds else {
            orphans[port.number] = .some(nil)
            return
        }
        orphans[port.number] = loop.after(seconds) { [unowned self, number = port.number] in
            guard let port = ports[number], !port.isConnected else { return }
            logger.info(
                "nobody came back to the port",
                metadata: ["port": "\(port.ifname)"]
            )
            removePort(number)
        }
    }

    /// Removes a port that only waits for somebody to come back, if it is in the way of a new one.
    func makeWay(for options: NetdevOptions) {
        for (number, port) in ports
        where orphans[number] != nil && !port.isConnected && port.ifname == "\(options.port)" {
            removePort(number)
        }
    }

    // MARK: Switches

    /// Makes a switch with its table in a file.
    ///
    /// - Parameters:
    ///   - name: the switch.
    ///   - ageing: seconds.
    ///   - kept: the ports whose learned addresses are still good.
    /// - Returns: the switch, which is not in `switches` yet.
    func makeSwitch(
        _ name: String,
        ageing: UInt32 = 300,
        keeping kept: Set<UInt16> = []
    ) -> SwitchState {
        let path = configuration.runtime.table(ofSwitch: name)
        _ = unsafe mkdir(configuration.runtime.directory(ofSwitch: name), 0o700)
        if kept.isEmpty { _ = unsafe unlink(path) }
        var file: TableFile?
        do throws(SystemError) {
            file = try TableFile(path: path)
        } catch {
            logger.warning("what \(name) learns will not survive an end of the engine: \(error)")
        }
        let taken = Set(switches.values.map(\.index))
        let index = (0...taken.count).first { !taken.contains($0) } ?? taken.count
        let vale = SwitchState(name, index: index, ageing: ageing, file: file)
        if ValePortName.isHub(name) { vale.options = .hub }
        unsafe vale.plane.pointee.vale.table.retain(
            now: nm_monotonic_seconds(),
            where: kept.contains
        )
        return vale
    }

    /// Removes the files of a switch without ports.
    func removeFiles(of vale: SwitchState) {
        vale.file?.remove()
        _ = unsafe rmdir(configuration.runtime.directory(ofSwitch: vale.name))
    }
}
