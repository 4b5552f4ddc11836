// QEMU's words in passt's.

extension UserOptions {
    /// The options that passt is started with, besides its socket.
    public var passtOptions: [String] {
        var words: [String] = []
        if let network {
            words += ["-a", network.guest, "-n", "\(network.prefix)", "-g", network.host]
            words += ["--dns-forward", network.dns]
        } else {
            words += ["-6"]
        }
        if let network6 {
            words += ["-a", network6.guest, "-g", network6.host, "--dns-forward", network6.dns]
        }
        if !hasIPv6 { words += ["-4"] }
        words += ["-m", "\(mtu)"]
        if !searchList.isEmpty { words += ["-S", searchList.joined(separator: " ")] }
        if isRestricted { words += ["--no-tcp", "--no-udp", "--no-icmp"] }
        for (flag, isUDP) in [("-t", false), ("-u", true)] {
            let rules = forwards.filter { $0.isUDP == isUDP }
            // Said in words, too: without, passt would forward UDP where it forwards TCP.
            if rules.isEmpty { words += [flag, "none"] }
            for rule in rules { words += [flag, rule.passtSpecification] }
        }
        return words
    }
}
