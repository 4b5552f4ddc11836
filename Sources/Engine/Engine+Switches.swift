// Switches that an operator makes and changes, and ports that move from one to another.

import CNetmap
import Control
import Glibc
import Logging
import Netmap
import Vale

extension Engine.SwitchState {
    /// The settings, which workers follow at once.
    var options: SwitchOptions {
        get {
            var options = SwitchOptions()
            // SAFETY: the plane lives as long as this.
            options.ageing = Int(unsafe plane.pointee.vale.ageing)
            options.forwardsGroups = unsafe plane.pointee.vale.forwardsGroups
            switch unsafe plane.pointee.vale.mode {
            case .learning: options.mode = .learning
            case .wire: options.mode = .wire
            case .hub: options.mode = .hub
            }
            return options
        }
        set {
            unsafe plane.pointee.vale.ageing = UInt32(newValue.ageing)
            unsafe plane.pointee.vale.forwardsGroups = newValue.forwardsGroups
            switch newValue.mode {
            case .learning: unsafe plane.pointee.vale.mode = .learning
            case .wire: unsafe plane.pointee.vale.mode = .wire
            case .hub: unsafe plane.pointee.vale.mode = .hub
            }
        }
    }
}

extension Engine {
    /// A hubport that holds a port which was there before.
    struct HubPort {
        let options: NetdevOptions
        /// The port that it holds.
        let port: UInt16
    }

    // MARK: Commands

    /// Makes a switch, or has one stay that a port brought along.
    func addSwitch(_ arguments: JSONObject) throws(QMPError) {
        let name = arguments["switch"]?.stringValue ?? ""
        do throws(ValePortName.NameError) {
            try ValePortName.check(switch: name)
        } catch {
            throw .expects("switch", error.description)
        }
        if let known = switches[name] {
            guard !known.isKept else { throw QMPError("Switch '\(name)' exists already") }
            try set(known, arguments)
            known.isKept = true
        } else {
            let made = makeSwitch(name)
            do throws(QMPError) {
                try set(made, arguments)
            } catch {
                removeFiles(of: made)
                throw error
            }
            made.isKept = true
            switches[name] = made
        }
        save()
    }

    /// Removes a switch without ports.
    func removeSwitch(_ name: String) throws(QMPError) {
        let vale = try vale(name)
        guard vale.ports.isEmpty else {
            throw QMPError("Switch '\(name)' has ports; remove first: \(portNames(of: vale))")
        }
        // No worker can be in it: its last port went with a grace period.
        switches[name] = nil
        removeFiles(of: vale)
        save()
        reconsiderLingering()
    }

    private func portNames(of vale: SwitchState) -> String {
        vale.ports.compactMap { ports[$0]?.ifname }.sorted().joined(separator: ", ")
    }

    /// Changes the settings of a switch.
    func set(_ vale: SwitchState, _ arguments: JSONObject) throws(QMPError) {
        let old = vale.options
        let new = try SwitchOptions(arguments, changing: old)
        if ValePortName.isHub(vale.name), new.mode != .hub {
            throw QMPError("Switch '\(vale.name)' is a hub by its name; take one called vale...")
        }
        if new.mode == .wire, vale.ports.count > 2 {
            throw QMPError(
                "Switch '\(vale.name)' cannot become a wire, which has two ports: it has "
                    + portNames(of: vale)
            )
        }
        for number in vale.ports {
            guard let port = ports[number], let why = new.objection(to: port.policy) else {
                continue
            }
            throw QMPError(
                "Switch '\(vale.name)' cannot become a \(new.mode.rawValue), because \(why), "
                    + "and port '\(port.ifname)' was told to have such rules"
            )
        }
        vale.options = new
        if new.mode != old.mode {
            pool.synchronize()
            unsafe vale.plane.pointee.vale.table.flush(dynamicOn: nil)
            pool.recall()
        }
    }

    /// Refuses a port that a switch has no room for.
    ///
    /// - Parameters:
    ///   - name: the port.
    ///   - vale: the switch, if there is one already.
    /// - Throws: that there is none, and what to do.
    func checkRoom(for name: String, on vale: SwitchState?) throws(QMPError) {
        guard let vale, vale.options.mode == .wire, vale.ports.count >= 2 else { return }
        throw QMPError(
            "Switch '\(vale.name)' is a wire between \(portNames(of: vale)) and has no room for "
                + "'\(name)'; switch-set with mode=learning makes it a switch for any number of ports"
        )
    }

    // MARK: Moving ports

    /// Puts a port on another switch while frames pass.
    private func move(_ port: Port, from old: SwitchState, to new: SwitchState) {
        old.remove(port.number)
        publishMembers(of: old)
        // Rules are there before the first frame is.
        publishRules(of: new, with: port)
        unsafe pool.pausing(port.plane) { unsafe port.plane.pointee.vale = unsafe new.plane }
        pool.synchronize()
        unsafe old.plane.pointee.vale.table.flush(port: port.number)
        publishRules(of: old)
        port.master = new.name
        enter(port, new)
        pool.recall()
        dropIfUnused(old)
    }

    /// Removes a switch that has no ports and was not made to stay.
    func dropIfUnused(_ vale: SwitchState) {
        guard vale.ports.isEmpty, !vale.isKept else { return }
        // No worker can be in it: its last port has just gone with a grace period.
        switches[vale.name] = nil
        removeFiles(of: vale)
    }

    /// Moves a port onto a hub: `netdev_add hubport,netdev=`.
    func addHubPort(_ options: NetdevOptions, _ hub: HubPortOptions, _ netdev: String)
        throws(QMPError)
    {
        try checkFree(id: options.id)
        guard let port = ports.values.first(where: { $0.id == netdev || $0.ifname == netdev })
        else {
            throw .deviceNotFound(netdev)
        }
        guard port.netdev != nil, let old = switches[port.master ?? ""] else {
            throw QMPError(
                "Port '\(port.ifname)' is a program's, which stays on the switch that it asked for"
            )
        }
        guard !ValePortName.isHub(old.name) else {
            throw QMPError("Port '\(port.ifname)' is on '\(old.name)' already")
        }
        if let why = SwitchOptions.hub.objection(to: port.policy) {
            throw QMPError("Port '\(port.ifname)' cannot be on a hub with its rules: \(why)")
        }
        let new = switches[hub.master] ?? makeSwitch(hub.master)
        hubPorts[options.id] = HubPort(options: options, port: port.number)
        move(port, from: old, to: new)
        save()
        logger.info("port moved", metadata: ["port": "\(port.ifname)", "to": "\(hub.master)"])
    }

    /// Moves a port back from a hub to where it came from.
    ///
    /// - Returns: whether there is such a hubport.
    func removeHubPort(_ id: String) throws(QMPError) -> Bool {
        guard let hubPort = hubPorts[id] else { return false }
        guard let port = ports[hubPort.port], let home = port.netdev?.port.master,
            let old = switches[port.master ?? ""]
        else {
            hubPorts[id] = nil
            return true
        }
        try checkRoom(for: port.ifname, on: switches[home])
        let new = switches[home] ?? makeSwitch(home)
        try check(port.policy, for: port.ifname, on: new)
        hubPorts[id] = nil
        move(port, from: old, to: new)
        save()
        logger.info("port moved", metadata: ["port": "\(port.ifname)", "to": "\(home)"])
        return true
    }

    /// Refuses an id that something has.
    func checkFree(id: String) throws(QMPError) {
        guard hubPorts[id] == nil, !ports.values.contains(where: { $0.id == id }) else {
            throw .duplicate(id)
        }
    }
}
