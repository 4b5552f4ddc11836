// A port that is there already, as a guest finds it that asks for one: whether it is what was asked for.

extension NetdevOptions {
    /// What an existing port lacks of these options.
    ///
    /// - Parameter port: its entry in `query-ports`.
    /// - Returns: the end of a sentence that begins with the port's name, or nil if the port will do.
    public func objection(to port: JSONValue) -> String? {
        let remedy = "; 'wirevale port del \(self.port)' removes it"
        if let type = port["type"]?.stringValue, type != self.type {
            return "is there already, as a port of type \(type), not \(self.type)" + remedy
        }
        if port["role"] == "client" {
            return "is there already, connecting to \(port["socket"]?.stringValue ?? "?")" + remedy
        }
        let queues = port["queues"]?.integerValue ?? 1
        if queues < self.queues {
            return "is there already, with \(queues) queues, not \(self.queues)" + remedy
        }
        // Rules keep others safe: those that were asked for have to be there, and no others.
        if !policy.isEmpty {
            let own = PortPolicy.names.filter { port[$0] != policy.members[$0] }
            if let name = own.first {
                return "is there already, with another '\(name)' than was asked for; "
                    + "'wirevale port set \(self.port)' changes it"
            }
        }
        // A port that promises more than was asked for is its operator's wish.
        guard let lossless else { return nil }
        guard port["lossless"] == true else {
            return "is there already and loses frames when its guest is slow, but lossless=on was "
                + "asked for" + remedy + ", or leave lossless=on out"
        }
        let timeout = port["lossless-timeout"]?.integerValue ?? LosslessOptions.defaultTimeout
        guard timeout == lossless.timeout else {
            return "is there already with lossless-timeout=\(timeout), not \(lossless.timeout)"
                + remedy + ", or leave lossless=on out"
        }
        return nil
    }
}
