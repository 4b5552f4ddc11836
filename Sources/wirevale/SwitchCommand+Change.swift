// wirevale switch add, del, set.

internal import ArgumentParser
internal import Control

extension SwitchCommand {
    /// What `add` and `set` take.
    struct Settings: ParsableArguments {
        @Option(help: "learning, wire (joins two ports and learns nothing) or hub.")
        var mode: String?
        @Option(help: "Seconds until a learned address is forgotten; 0: never.")
        var ageing: Int?
        @Flag(
            inversion: .prefixedNo,
            help:
                "Forward frames to 01:80:c2:00:00:00 to 0f (STP, LACP, LLDP) as VALE does, or drop them."
        )
        var groupForward: Bool?

        func arguments(_ name: String) throws -> JSONObject {
            try ValePortName.check(switch: name)
            var object: JSONObject = ["switch": .string(name)]
            object["mode"] = mode.map { .string($0) }
            object["ageing"] = ageing.map { .integer($0) }
            object["group-forward"] = groupForward.map { .bool($0) }
            do throws(QMPError) {
                _ = try SwitchOptions(object)
            } catch {
                throw Failure(.usage, error.description)
            }
            return object
        }
    }

    struct Add: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a switch that stays without ports.",
            discussion: """
                EXAMPLES:
                  wirevale switch add vale7 --mode wire     joins two ports, transparent to LACP, STP
                  wirevale switch add vale8 --mode hub      every frame goes to every other port
                """
        )

        @Argument(help: "The switch, such as vale0.")
        var name: String
        @OptionGroup var settings: Settings
        @OptionGroup var engine: EngineOptions

        func run() throws {
            let arguments = try settings.arguments(name)
            _ = try engine.connectOrStart().execute("switch-add", arguments)
        }
    }

    struct Del: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Remove switches without ports.")

        @Argument(help: "The switches, such as vale0.")
        var names: [String]
        @OptionGroup var engine: EngineOptions

        func run() throws {
            let client = try engine.connect()
            for name in names {
                try ValePortName.check(switch: name)
                _ = try client.execute("switch-del", ["switch": .string(name)])
            }
        }
    }

    struct Set: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Change settings of a switch.")

        @Argument(help: "The switch, such as vale0.")
        var name: String
        @OptionGroup var settings: Settings
        @OptionGroup var engine: EngineOptions

        func run() throws {
            let arguments = try settings.arguments(name)
            guard arguments.count > 1 else {
                throw ValidationError("nothing to set; give --mode, --ageing or --group-forward")
            }
            _ = try engine.connect().execute("switch-set", arguments)
        }
    }
}
