// Dumps: captures of ports and switches. `object-add` is there for filter-dump, as QEMU's users know it.

extension Schema {
    static let dumpCommands: [Command] = [
        Command(
            name: "dump-add",
            summary: "Write the frames of a port, or of all ports of a switch, to a capture file",
            arguments: "dump-add-arg",
            returns: nil
        ),
        Command(
            name: "dump-stop",
            summary: "Have a dump write what it has and end; query-dumps says when",
            arguments: "dump-stop-arg",
            returns: nil
        ),
        Command(
            name: "dump-del",
            summary: "Remove a dump, at the end of its writing, and say what it came to",
            arguments: "dump-del-arg",
            returns: .named("DumpInfo")
        ),
        Command(
            name: "query-dumps",
            summary: "Dumps with their counters",
            arguments: nil,
            returns: .array(of: .named("DumpInfo"))
        ),
        Command(
            name: "object-add",
            summary: "dump-add in QEMU's words: qom-type filter-dump",
            arguments: "ObjectOptions",
            returns: nil
        ),
        Command(
            name: "object-del",
            summary: "dump-del in QEMU's words",
            arguments: "object-del-arg",
            returns: nil
        ),
    ]

    static let dumpTypes: [ObjectType] = [
        ObjectType(
            "dump-add-arg",
            [
                .required("id", .string, "name of the dump"),
                .required("name", .string, "a port, by its id or ifname, or a switch"),
                .required("file", .string, "path of the file, or of a FIFO"),
                .optional("format", .named("DumpFormat"), "pcapng unless file ends in .pcap"),
                .optional("snaplen", .integer, "the most bytes of a frame that are kept"),
                .optional("direction", .named("DumpDirection"), "in is from the port"),
                .optional("filter", .string, "which frames, in tcpdump's language"),
                .optional("count", .integer, "frames after which it ends"),
                .optional("file-size", .integer, "bytes after which another file begins"),
                .optional("rotate-seconds", .integer, "seconds after which another file begins"),
                .optional("files", .integer, "with file-size: how many; else when to end"),
                .optional("buffer", .integer, "bytes for frames not written yet, default 8 MiB"),
                .optional("ephemeral", .boolean, "end it when this control connection ends"),
            ]
        ),
        ObjectType("dump-stop-arg", [.required("id", .string, "name of the dump")]),
        ObjectType("dump-del-arg", [.required("id", .string, "name of the dump")]),
        ObjectType(
            "ObjectOptions",
            [
                .required("qom-type", .named("ObjectType"), "what to make"),
                .required("id", .string, "its name"),
            ],
            tag: "qom-type",
            variants: [Variant(value: "filter-dump", type: "FilterDumpProperties")]
        ),
        ObjectType(
            "FilterDumpProperties",
            [
                .required("netdev", .string, "id of the port"),
                .required("file", .string, "path of the pcap file"),
                .optional("maxlen", .integer, "the most bytes of a frame, default 65536"),
                .optional("queue", .named("NetFilterDirection"), "rx is what the port is sent"),
                .optional("status", .string, "only on"),
            ]
        ),
        ObjectType("object-del-arg", [.required("id", .string, "its name")]),
        ObjectType(
            "DumpInfo",
            [
                .required("id", .string), .required("name", .string, "the port or switch"),
                .required("file", .string, "that is written now"),
                .required("files", .integer, "that there have been"),
                .required("format", .named("DumpFormat")),
                .required("state", .named("DumpState")),
                .optional("reason", .string, "why it is over"),
                .required("failed", .boolean, "whether that is an error"),
                .optional("filter", .string),
                .required("ephemeral", .boolean),
                .required("packets", .integer, "written"),
                .required("received", .integer, "shown to the filter"),
                .required("dropped", .integer, "wanted, and lost for lack of room"),
            ]
        ),
    ]

    static let dumpEnumerations: [Enumeration] = [
        Enumeration(name: "DumpFormat", values: ["pcap", "pcapng"]),
        Enumeration(name: "DumpDirection", values: ["in", "out", "inout"]),
        Enumeration(name: "DumpState", values: ["opening", "waiting", "running", "ended"]),
        Enumeration(name: "NetFilterDirection", values: ["all", "rx", "tx"]),
        Enumeration(name: "ObjectType", values: ["filter-dump"]),
        Enumeration(name: "PcapMode", values: ["replay", "sink"]),
    ]
}
