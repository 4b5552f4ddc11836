// Hot plug as a conversation: what is sent for what QEMU says, and what a client is told when it fails.

import Control
import Testing

/// A QEMU that answers from a table.
private struct FakeQemu {
    var monitor: GuestMonitor
    /// Commands that came, with their arguments.
    var sent: [(command: String, arguments: JSONObject)] = []
    var result: QMPError??
    var lastWait = 0.0
    /// The answers that are not `{}`.
    var answers: [String: (JSONObject) -> Result<JSONValue, QMPError>] = [:]
    /// Commands that are left without an answer.
    var silent: Set<String> = []

    init(_ task: GuestMonitor.Task) { monitor = GuestMonitor(guest: "vm1", task: task) }

    mutating func run(version: String = #"{"major":7,"minor":2,"micro":22}"#) {
        perform(monitor.start)
        let greeting = #"{"QMP":{"version":{"qemu":\#(version)},"capabilities":[]}}"#
        perform(monitor.receive((greeting + "\r\n").utf8))
    }

    mutating func perform(_ actions: [GuestMonitor.Action]) {
        for action in actions {
            switch action {
            case .wait(let seconds): lastWait = seconds
            case .finish(let error): result = .some(error)
            case .send(let bytes):
                guard let message = try? JSONValue(parsing: String(decoding: bytes, as: UTF8.self)),
                    let command = message["execute"]?.stringValue
                else { return }
                let arguments = message["arguments"]?.objectValue ?? [:]
                sent.append((command, arguments))
                guard !silent.contains(command) else { continue }
                var reply: JSONObject = [:]
                switch answers[command]?(arguments) ?? .success([:]) {
                case .success(let value): reply["return"] = value
                case .failure(let error): reply["error"] = error.json
                }
                reply["id"] = message["id"]
                // In pieces, as a socket may give them.
                for piece in Array(JSONValue.object(reply).line).chunked(7) {
                    perform(monitor.receive(piece))
                }
            }
        }
    }

    mutating func event(_ name: String, _ device: String) {
        let text = #"{"event":"\#(name)","data":{"device":"\#(device)","path":"/x"}}"#
        perform(monitor.receive((text + "\n").utf8))
    }

    /// What a client is told; empty if it is told nothing bad.
    var failure: String { (result ?? nil)?.description ?? "" }

    var commands: [String] { sent.map(\.command) }

    func arguments(_ command: String) -> JSONObject? {
        sent.last { $0.command == command }?.arguments
    }
}

extension Array {
    fileprivate func chunked(_ size: Int) -> [ArraySlice<Element>] {
        stride(from: 0, to: count, by: size).map { self[$0..<Swift.min($0 + size, count)] }
    }
}

@Suite struct GuestMonitorTests {
    private func nic(_ more: JSONObject = [:]) throws -> GuestNIC {
        var arguments: JSONObject = [
            "type": "netmap", "id": "n7", "ifname": "vale0:hot", "guest": "vm1",
            "mac": "52:54:00:00:00:07",
        ]
        for (key, value) in more { arguments[key] = value }
        let options = try NetdevOptions(arguments)
        return GuestNIC(options, plug: try #require(options.plug), socket: "/r/hot.sock")
    }

    private let q35: [String: (JSONObject) -> Result<JSONValue, QMPError>] = [
        "query-kvm": { _ in .success(["enabled": false, "present": true]) },
        "qom-get": { _ in .success("pc-q35-7.2-machine") },
        "qom-list": { arguments in
            switch arguments["path"]?.stringValue {
            case "/machine/peripheral":
                return .success([
                    ["name": "wv-hot0", "type": "child<pcie-root-port>"],
                    ["name": "net0", "type": "child<virtio-net-pci>"],
                    ["name": "wv-hot1", "type": "child<pcie-root-port>"],
                ])
            case "/machine/peripheral/wv-hot0/wv-hot0":
                return .success([["name": "child[3]", "type": "link<virtio-net-pci>"]])
            default: return .success([["name": "type", "type": "string"]])
            }
        },
    ]

    @Test func `a NIC is plugged into the first free port of a q35 machine`() throws {
        var qemu = FakeQemu(.plug(try nic(["queues": 2])))
        qemu.answers = q35
        qemu.run()
        #expect(qemu.result == .some(.none))
        #expect(
            qemu.commands == [
                "qmp_capabilities", "query-kvm", "qom-get", "qom-list", "qom-list", "qom-list",
                "chardev-add", "netdev_add", "device_add",
            ]
        )
        let data = qemu.arguments("chardev-add")?["backend"]?["data"]
        #expect(data?["addr"]?["data"]?["path"] == "/r/hot.sock")
        #expect(data?["server"] == false)
        #expect(data?["reconnect"] == 1)
        #expect(qemu.arguments("netdev_add")?["queues"] == 2)
        #expect(
            qemu.arguments("device_add") == [
                "driver": "virtio-net-pci", "id": "vale0-hot", "netdev": "vale0-hot",
                "mac": "52:54:00:00:00:07", "mq": true, "vectors": 0, "bus": "wv-hot1",
            ]
        )
    }

    @Test func `a pc needs no port, and with KVM MSI-X stays`() throws {
        var qemu = FakeQemu(.plug(try nic()))
        qemu.answers["query-kvm"] = { _ in .success(["enabled": true, "present": true]) }
        qemu.answers["qom-get"] = { _ in .success("pc-i440fx-7.2-machine") }
        qemu.run(version: #"{"major":10,"minor":0,"micro":0}"#)
        #expect(qemu.result == .some(.none))
        #expect(qemu.arguments("device_add")?.keys == ["driver", "id", "netdev", "mac"])
        let data = qemu.arguments("chardev-add")?["backend"]?["data"]
        #expect(data?["reconnect-ms"] == 1000 && data?["reconnect"] == nil)
    }

    @Test func `what was done is undone when a step fails, and the guest's words are passed on`()
        throws
    {
        var qemu = FakeQemu(.plug(try nic(["bus": "pcie.0"])))
        qemu.answers = q35
        qemu.answers["device_add"] = { _ in
            .failure(QMPError("Bus 'pcie.0' does not support hotplugging"))
        }
        qemu.answers["chardev-remove"] = { _ in .failure(QMPError("Chardev 'x' not found")) }
        qemu.run()
        #expect(
            qemu.commands.suffix(5) == [
                "chardev-add", "netdev_add", "device_add", "netdev_del", "chardev-remove",
            ]
        )
        let said = qemu.failure
        #expect(said.hasSuffix("refused device_add: Bus 'pcie.0' does not support hotplugging"))
        #expect(said.contains("'vm1'"))
    }

    @Test func `a q35 machine whose ports are taken is told what it lacks`() throws {
        var qemu = FakeQemu(.plug(try nic()))
        qemu.answers = q35
        qemu.answers["qom-list"] = { _ in .success([]) }
        qemu.run()
        let said = qemu.failure
        #expect(said.contains("-device pcie-root-port"))
        #expect(!qemu.commands.contains("chardev-add"))
    }

    @Test func `unplugging waits for the guest, then takes the rest away`() throws {
        var qemu = FakeQemu(.unplug(try nic()))
        qemu.answers["chardev-remove"] = { _ in .failure(QMPError("Chardev 'x' not found")) }
        qemu.run()
        #expect(qemu.commands == ["qmp_capabilities", "device_del"])
        #expect(qemu.lastWait == GuestMonitor.deletionSeconds)
        qemu.event("DEVICE_DELETED", "somebody-else")
        #expect(qemu.result == nil)
        qemu.event("DEVICE_DELETED", "vale0-hot")
        #expect(qemu.commands.suffix(2) == ["netdev_del", "chardev-remove"])
        #expect(qemu.result == .some(.none))
    }

    @Test func `a guest that does not let go leaves everything, with a clear error`() throws {
        var qemu = FakeQemu(.unplug(try nic()))
        qemu.run()
        qemu.perform(qemu.monitor.expire())
        let said = qemu.failure
        #expect(said.contains("has not let go"))
        #expect(!qemu.commands.contains("netdev_del"))
        // What comes later is nobody's business any more.
        qemu.event("DEVICE_DELETED", "vale0-hot")
        #expect(!qemu.commands.contains("netdev_del"))
    }

    @Test func `a device that is on its way out is waited for, one that is gone is not`() throws {
        var leaving = FakeQemu(.unplug(try nic()))
        leaving.answers["device_del"] = { _ in
            .failure(QMPError("Device vale0-hot is already in the process of unplug"))
        }
        leaving.run()
        #expect(leaving.result == nil)
        leaving.event("DEVICE_DELETED", "vale0-hot")
        #expect(leaving.result == .some(.none))
        var gone = FakeQemu(.unplug(try nic()))
        gone.answers["device_del"] = { _ in
            .failure(QMPError(.deviceNotFound, "Device 'vale0-hot' not found"))
        }
        gone.run()
        #expect(gone.commands.suffix(2) == ["netdev_del", "chardev-remove"])
        #expect(gone.result == .some(.none))
    }

    @Test func `silence and an end at any step are errors that name the guest`() throws {
        for step in ["qmp_capabilities", "query-kvm", "chardev-add", "netdev_add", "device_add"] {
            var late = FakeQemu(.plug(try nic(["bus": "pci.0"])))
            late.silent = [step]
            late.run()
            #expect(late.result == nil)
            var closed = late
            late.perform(late.monitor.expire())
            #expect(late.failure.contains("does not answer"))
            closed.perform(closed.monitor.close())
            #expect(closed.failure.contains("'vm1'"))
        }
        var mute = GuestMonitor(guest: "vm1", task: .plug(try nic()))
        guard case .finish(.some(let error)) = mute.expire().last else {
            Issue.record("it went on")
            return
        }
        #expect(error.description.contains("is another program connected"))
    }

    @Test func `rubbish from the monitor never crashes and never succeeds`() throws {
        var generator = SystemRandomNumberGenerator()
        let words = [
            "{", "}", "[", "\"QMP\"", ":", "\"return\"", "1", "\"id\"", ",", "\n", "null",
            "{\"return\":{},\"id\":1}", "{\"error\":{},\"id\":2}", "{\"event\":\"DEVICE_DELETED\"}",
        ]
        for _ in 0..<2000 {
            var monitor = GuestMonitor(guest: "vm1", task: .plug(try nic()))
            for _ in 0..<12 {
                let text = words.randomElement(using: &generator) ?? ""
                for case .finish(nil) in monitor.receive(text.utf8) { Issue.record("success") }
            }
        }
    }

    @Test func `guest, mac and bus are checked before anything is asked`() {
        for (member, value) in [("mac", "01:00:00:00:00:01"), ("mac", "x"), ("mac", "1:2:3:4:5:6")]
        {
            #expect(throws: QMPError.self) { try nic([member: .string(value)]) }
        }
        #expect(throws: QMPError("Parameter 'bus' is for a NIC in a guest; add guest=NAME")) {
            try NetdevOptions(text: "netmap,id=n,ifname=vale0:a,bus=x")
        }
        #expect(throws: QMPError.self) { try GuestOptions(["name": "g", "qmp": "relative"]) }
    }
}
