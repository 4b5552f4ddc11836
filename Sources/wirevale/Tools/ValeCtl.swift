// wirevale vale-ctl: what is on switches, and what shall be, by the requests that any program can make.

internal import ArgumentParser
internal import Control
internal import Netmap

struct ValeCtl: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "vale-ctl",
        abstract: "List, attach, detach, make and remove ports of VALE switches.",
        discussion: """
            EXAMPLES:
              wirevale vale-ctl                     all ports of all switches
              wirevale vale-ctl -n v1 -C 512,512,2,2
              wirevale vale-ctl -a vale0:v1
              wirevale vale-ctl -a vale0:eth0       an interface of the host, without the host
              wirevale vale-ctl -h vale0:eth0       and with it, as vale0:eth0^
              wirevale vale-ctl -d vale0:v1
              wirevale vale-ctl -r v1

            Exit status 0 says that it was done.
            """,
        helpNames: .long
    )

    @Option(name: .customShort("l"), help: "Show where a port is on its switch.")
    var list: String?
    @Option(name: .customShort("a"), help: "Attach an interface or persistent port, 'vale0:v1'.")
    var attach: String?
    @Option(name: .customShort("h"), help: "The same, with its host stack.")
    var attachWithHost: String?
    @Option(name: .customShort("d"), help: "Detach it.")
    var detach: String?
    @Option(name: .customShort("n"), help: "Make a persistent port.")
    var new: String?
    @Option(name: .customShort("r"), help: "Remove a persistent port.")
    var remove: String?
    @Option(name: .customShort("C"), help: "For -n: tx slots, rx slots, tx rings, rx rings.")
    var configuration: String?
    @Option(
        name: .customShort("m"),
        help: "For -n and -a: memory id, or a port whose memory to use."
    )
    var memory: String?
    @Option(name: .customShort("g"), help: "Show what a port has.")
    var get: String?
    @Flag(name: .customShort("v"), help: "Say more.") var verbose: Int
    @OptionGroup var engine: EngineOptions

    func run() throws {
        _ = try engine.connectOrStart()
        do {
            try perform(PortSpace.engine(socket: engine.directory.netmapSocket))
        } catch let error as PortError {
            throw Failure(error)
        }
    }

    private func perform(_ space: PortSpace) throws {
        let asked = [list, attach, attachWithHost, detach, new, remove, get].compactMap { $0 }
        guard asked.count <= 1 else { throw ValidationError("give one of -l -a -h -d -n -r -g") }
        if let name = list {
            show(try space.place(of: name))
        } else if let name = attach ?? attachWithHost {
            let index = try space.attach(
                name,
                withHost: attachWithHost != nil,
                memoryID: try memoryID(space)
            )
            if verbose > 0 { Terminal.output("\(name) port_idx \(index)\n") }
        } else if let name = detach {
            try space.detach(name)
        } else if let name = new {
            let made = try space.makePort(name, try geometry(), memoryID: try memoryID(space))
            if verbose > 0 { show(name, made) }
        } else if let name = remove {
            try space.removePort(name)
        } else if let name = get {
            show(name, try space.info(of: name))
        } else {
            for place in try space.valePorts() { show(place) }
        }
    }

    private func show(_ place: ValePlace) {
        Terminal.output(
            "\(place.name) bridge_idx \(place.switchIndex) port_idx \(place.portIndex)\n"
        )
    }

    private func show(_ name: String, _ info: PortInfo) {
        let all = info.configuration
        Terminal.output(
            "\(name): tx_slots \(all.transmitSlots) rx_slots \(all.receiveSlots) "
                + "tx_rings \(all.transmitRings) rx_rings \(all.receiveRings) "
                + "host_tx_rings \(all.hostTransmitRings) host_rx_rings \(all.hostReceiveRings) "
                + "mem_id \(info.memoryID) memsize \(info.memorySize)\n"
        )
    }

    private func geometry() throws -> PortSpecification.Configuration {
        var all = PortSpecification.Configuration()
        guard let configuration else { return all }
        let numbers = configuration.split(separator: ",").map { Int($0) }
        guard (1...4).contains(numbers.count), !numbers.contains(nil) else {
            throw ValidationError("-C takes up to four numbers: '1024,1024,1,1'")
        }
        let values = numbers.compactMap { $0 }
        all.transmitSlots = values[0]
        all.receiveSlots = values.count > 1 ? values[1] : values[0]
        all.transmitRings = values.count > 2 ? values[2] : 0
        all.receiveRings = values.count > 3 ? values[3] : all.transmitRings
        return all
    }

    private func memoryID(_ space: PortSpace) throws -> UInt16 {
        guard let memory else { return 0 }
        if let number = UInt16(memory) { return number }
        return try space.info(of: memory).memoryID
    }
}
