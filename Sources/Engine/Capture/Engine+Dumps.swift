// Dumps: begun, shown to the ports that they are of, ended.

import CNetmap
import Control
import Glibc
import Logging
import Netmap
import Ports

extension Engine {
    /// Begins a dump and calls `done` when its file is there, or when that is a FIFO which waits for a reader.
    func addDump(
        _ options: DumpOptions,
        client: UInt64,
        done: @escaping (QMPError?) -> Void
    ) throws(QMPError) {
        guard dumps[options.id] == nil else { throw .duplicate(options.id, for: "dump") }
        let members: [Port]
        var master: String?
        if let vale = switches[options.name] {
            master = vale.name
            members = vale.ports.sorted().compactMap { ports[$0] }
        } else {
            let port = try port(["name": .string(options.name)], "name")
            guard port.master != nil else {
                throw QMPError(
                    "Port '\(port.ifname)' is on no switch; a netmap monitor shows its frames"
                )
            }
            members = [port]
        }
        do throws(SystemError) {
            let dump = try Dump(
                options,
                owner: options.isEphemeral ? client : nil,
                master: master,
                loop: loop
            )
            for port in members { dump.add(port) }
            dump.onChange = { [unowned self, unowned dump] in
                for number in dump.interfaces.keys { publishTaps(of: number) }
            }
            dump.onBegin = { [unowned self, unowned dump] error in
                if error != nil {
                    dump.forget()
                    dumps[options.id] = nil
                } else {
                    logger.info("dump begun", metadata: ["dump": "\(options.id)"])
                }
                done(error)
            }
            dumps[options.id] = dump
            try dump.start()
        } catch {
            dumps[options.id] = nil
            throw QMPError(error.description)
        }
    }

    /// The dump of a name.
    func dump(_ arguments: JSONObject) throws(QMPError) -> Dump {
        let id = arguments["id"]?.stringValue ?? ""
        guard let dump = dumps[id] else {
            throw QMPError(.deviceNotFound, "Dump '\(id)' not found")
        }
        return dump
    }

    /// Ends a dump and calls `done` with what it came to, when all of it is written.
    func remove(_ dump: Dump, done: @escaping (JSONValue) -> Void) {
        let id = dump.options.id
        let finish = { [unowned self] in
            dump.forget()
            if dumps[id] === dump { dumps[id] = nil }
            // Its ring goes with it; that it has ended may not have been noticed yet.
            for number in dump.interfaces.keys { publishTaps(of: number) }
            logger.info(
                "dump ended",
                metadata: ["dump": "\(id)", "packets": "\(dump.writer.now.packets)"]
            )
            done(dump.json)
        }
        if dump.writer.now.phase == .ended { return finish() }
        dump.onEnd.append(finish)
        end(dump, "it was removed")
    }

    /// `query-dumps`.
    func queryDumps() -> JSONValue {
        .array(dumps.values.sorted { $0.options.id < $1.options.id }.map(\.json))
    }

    /// Shows no more frames to a dump, and has it write what it has.
    func end(_ dump: Dump, _ reason: String) {
        dump.reason = reason
        for number in dump.interfaces.keys { publishTaps(of: number) }
        dump.writer.stop()
    }

    /// A port has come: dumps of its switch see it.
    func dumpsGain(_ port: Port) {
        guard let master = port.master else { return }
        for dump in dumps.values where dump.master == master { dump.add(port) }
        publishTaps(of: port.number, port)
    }

    /// A port goes; `lastly` is done when no worker shows its frames to anybody any more.
    func dumpsLose(_ port: Port, lastly: () -> Void) {
        let old = unsafe nm_load64(&port.plane.pointee.taps)
        for dump in dumps.values where dump.interfaces[port.number] != nil {
            dump.remove(port)
            if dump.master == nil { end(dump, "port '\(port.ifname)' was removed") }
        }
        unsafe nm_store64_release(&port.plane.pointee.taps, 0)
        lastly()
        if old != 0 {
            pool.synchronize()
            unsafe DumpTaps.free(old)
        }
    }

    /// Ends the dumps that live as long as a control connection.
    func dumpsLose(connection: UInt64) {
        // Nobody waits for the answer.
        for dump in dumps.values where dump.owner == connection { remove(dump) { _ in } }
    }

    /// Ends all dumps; a disk that does not answer gets two seconds.
    func endDumps() {
        for dump in dumps.values { end(dump, "the engine ends") }
        let deadline = nm_monotonic_ns() + 2_000_000_000
        for dump in dumps.values {
            while dump.writer.now.phase != .ended, nm_monotonic_ns() < deadline { usleep(1000) }
            dump.forget()
        }
        dumps = [:]
    }

    private func publishTaps(of number: UInt16, _ new: Port? = nil) {
        guard let port = new ?? ports[number] else { return }
        let taps = unsafe dumps.values.compactMap { unsafe $0.tap(number) }
        let old = unsafe nm_load64(&port.plane.pointee.taps)
        guard unsafe old != 0 || !taps.isEmpty else { return }
        unsafe nm_store64_release(&port.plane.pointee.taps, DumpTaps.make(taps))
        guard old != 0 else { return }
        pool.synchronize()
        unsafe DumpTaps.free(old)
    }
}
