// The engine: owns switches, ports, sockets, workers and counters, and wires them together.

import CNetmap
public import Control
import Glibc
public import Logging
import Netmap
import Vale
import VhostUser
import Wire

/// One running engine.
///
/// Made and run on one thread; everything but the workers happens there.
public final class Engine {
    /// What an engine is started with.
    public struct Configuration: Sendable {
        /// Where sockets, lock and counters are.
        public var runtime: RuntimeDirectory
        /// How many threads move frames.
        public var workers = 1
        /// Processors to pin workers to, in turn; empty for none.
        public var cpus: [Int] = []
        /// How long a worker without work polls before it sleeps: about one wake-up time.
        public var spinMicroseconds = 30
        /// Whether to leave when the last port has been gone for a while.
        public var isOnDemand = false
        /// How long that while is, in seconds.
        public var lingerSeconds = 5.0
        /// How long a port of a guest of the engine before this one waits for it to come back.
        public var returnSeconds = 30.0
        /// How long such a port stays when its guest leaves later.
        public var absenceSeconds = 10.0

        /// Configuration files and directories of them, read at the start and at SIGHUP.
        public var files: [String] = []
        /// Whether it is as well if those do not exist.
        public var mayFilesBeMissing = false

        /// The defaults, in a given directory.
        public init(runtime: RuntimeDirectory) { self.runtime = runtime }
    }

    /// Why an engine cannot start, as a sentence for the user.
    public struct StartError: Error, CustomStringConvertible {
        /// What went wrong.
        public enum Kind: Sendable {
            /// Another engine has the runtime directory.
            case alreadyRunning
            /// A file or directory cannot be made.
            case cannotCreate
            /// Not allowed.
            case permission
        }
        /// What went wrong.
        public let kind: Kind
        /// The sentence.
        public let description: String
    }

    /// One switch and what it needs.
    @safe final class SwitchState {
        let name: String
        let plane: UnsafeMutablePointer<SwitchPlane>
        /// Its number among switches, and those of its ports on it (VALE_LIST).
        let index: Int
        private(set) var places = PortPlaces()
        var ports: [UInt16] { places.all.map(\.port) }
        /// Whether it stays without ports.
        var isKept = false
        /// Where its table is; nil if that has to be plain memory.
        let file: TableFile?

        init(_ name: String, index: Int, ageing: UInt32, file: TableFile?) {
            self.name = name
            self.index = index
            self.file = file
            unsafe plane = .allocate(capacity: 1)
            unsafe plane.initialize(to: SwitchPlane(ageing: ageing, storage: file?.storage))
        }

        /// Gives a port a number.
        func add(_ port: UInt16) {
            unsafe plane.pointee.vale.setPort(port, at: places.add(port))
        }

        /// Takes it back; before anybody else gets it, workers must have begun a new turn.
        func remove(_ port: UInt16) {
            if let place = places.remove(port) { unsafe plane.pointee.vale.setPort(nil, at: place) }
        }

        deinit {
            unsafe plane.deinitialize(count: 1)
            unsafe plane.deallocate()
        }
    }

    let configuration: Configuration
    let loop: EventLoop
    let pool: WorkerPool
    let table = PortTable()
    let page: CounterPage
    let logger: Logger
    var ports: [UInt16: Port] = [:]
    var switches: [String: SwitchState] = [:]
    var chardevs: [String: ChardevOptions] = [:]
    /// Captures by id.
    var dumps: [String: Dump] = [:]
    /// Hubports that hold a port which was there before, by id.
    var hubPorts: [String: HubPort] = [:]
    /// Running guests by name.
    var guests: [String: GuestAgent] = [:]
    /// Ports whose owner's connection ended with the engine before this one, and what ends their wait.
    var orphans: [UInt16: UInt64?] = [:]
    let stateFile: StateFile
    /// What is on disk; nil while it is not to be touched.
    var savedState: EngineState?
    var server: ControlServer?
    /// Where frames go that leave a port which is on no switch: to nobody, and are counted.
    let nowhere = SwitchState("", index: -1, ageing: 300, file: nil)
    private(set) lazy var netmap = NetmapService(engine: self)
    private lazy var configurator = Configurator(engine: self)
    private let lock: OwnedDescriptor
    private let signals: OwnedDescriptor
    private var lingerTimer: UInt64?

    /// Takes the runtime directory and starts the workers; `run` does the rest.
    public init(_ configuration: Configuration, logger: Logger) throws(StartError) {
        self.configuration = configuration
        self.logger = logger
        do throws(RuntimeDirectory.AccessError) {
            try configuration.runtime.create()
        } catch {
            throw StartError(
                kind: error.kind == .permission ? .permission : .cannotCreate,
                description: error.description
            )
        }
        lock = try Engine.lock(configuration.runtime)
        stateFile = StateFile(path: configuration.runtime.state)
        let before = stateFile.read(logger: logger)
        do throws(SystemError) {
            _ = nm_guard_install()
            // A front-end that goes away while we write to it is news, not a reason to die.
            signal(SIGPIPE, SIG_IGN)
            // Blocked before the workers start, so that they inherit it and signals come here.
            let numbers = [SIGTERM, SIGINT, SIGHUP]
            signals = OwnedDescriptor(
                try SystemError.check(
                    unsafe nm_signalfd(numbers, Int32(numbers.count)),
                    "signalfd"
                )
            )
            loop = try EventLoop()
            page = try CounterPage(
                path: configuration.runtime.counters,
                keeping: before.counterNames
            )
            pool = try WorkerPool(
                count: configuration.workers,
                cpus: configuration.cpus,
                spinMicroseconds: configuration.spinMicroseconds,
                table: table,
                page: page
            )
        } catch {
            throw StartError(kind: .cannotCreate, description: error.description)
        }
        if let code = pool.signalError {
            logger.warning(
                "a hostile front-end can make a worker wait",
                metadata: ["reason": "\(SystemError("io_setup", result: code))"]
            )
        }
        restore(before)
    }

    private static func lock(_ runtime: RuntimeDirectory) throws(StartError) -> OwnedDescriptor {
        let number = unsafe nm_lock_file(runtime.pidFile)
        if number == -EWOULDBLOCK {
            throw StartError(
                kind: .alreadyRunning,
                description: "another engine is running in \(runtime.path); "
                    + "talk to it, or give this one its own --runtime-dir"
            )
        }
        guard number >= 0 else {
            throw StartError(
                kind: number == -EACCES ? .permission : .cannotCreate,
                description: SystemError("open \(runtime.pidFile)", result: number).description
            )
        }
        let file = OwnedDescriptor(number)
        let text = Array("\(getpid())\n".utf8)
        _ = ftruncate(number, 0)
        _ = unsafe write(number, text, text.count)
        return file
    }

    /// Serves until SIGTERM, SIGINT or `quit`.
    public func run() throws(StartError) {
        let server = ControlServer(engine: self)
        do {
            try watchSignals()
            _ = try loop.watch(pool.attention) { [unowned self] _ in
                _ = nm_eventfd_drain(pool.attention.number)
                for port in ports.values {
                    port.attend()
                    port.noteStalls()
                }
            }
            // The lock is ours, so a control socket that is left over is a dead engine's.
            try server.listen(configuration.runtime.controlSocket)
            try netmap.open(configuration.runtime.netmapSocket)
        } catch {
            // The workers run already, and what they use goes with this object.
            shutDown()
            throw StartError(kind: .cannotCreate, description: "\(error)")
        }
        self.server = server
        logger.info(
            "ready",
            metadata: [
                "directory": "\(configuration.runtime.path)",
                "workers": "\(configuration.workers)",
            ]
        )
        configurator.apply()
        ServiceManager.notify("READY=1\nSTATUS=no ports")
        reconsiderLingering()
        loop.run()
        ServiceManager.notify("STOPPING=1")
        shutDown()
        logger.info("stopped")
    }

    private func watchSignals() throws(SystemError) {
        _ = try loop.watch(signals) { [unowned self] _ in
            let number = nm_signalfd_read(signals.number)
            // A terminal that goes away does not take the guests' network with it.
            if number == SIGHUP { return reload() }
            logger.info("stopping", metadata: ["signal": "\(number)"])
            loop.stop()
        }
    }

    private func reload() {
        ServiceManager.notify("RELOADING=1\nMONOTONIC_USEC=\(nm_monotonic_ns() / 1000)")
        configurator.apply()
        ServiceManager.notify("READY=1")
    }

    /// Ends `run`.
    func quit() { loop.stop() }

    /// Ends everything in this process; what the next engine needs to go on stays.
    func shutDown() {
        server?.close()
        server = nil
        netmap.close()
        endDumps()
        for guest in guests.values { guest.close() }
        let isOver = state.isEmpty
        savedState = nil
        if isOver {
            page.remove()
            stateFile.remove()
        }
        for number in ports.keys.sorted() {
            // What has plugged into another goes with that.
            guard let port = ports.removeValue(forKey: number) else { continue }
            (port as? VhostUserPort)?.onChange = { _ in }
            unsafe table.set(number, nil)
            port.close()
        }
        ports = [:]
        pool.stop()
        _ = unsafe unlink(configuration.runtime.pidFile)
    }

    /// The ports that live as long as a control connection.
    func connectionEnded(_ connection: UInt64) {
        dumpsLose(connection: connection)
        for (number, port) in ports where port.owner == connection { removePort(number) }
        for guest in guests.values where guest.owner == connection { forget(guest) }
        reconsiderLingering()
    }

    /// An engine that was started on demand leaves when nobody needs it.
    func reconsiderLingering() {
        guard configuration.isOnDemand else { return }
        let isNeeded = !ports.isEmpty || server?.hasClients ?? false || netmap.isInUse
        if isNeeded, let timer = lingerTimer {
            loop.cancel(timer)
            lingerTimer = nil
        } else if !isNeeded, lingerTimer == nil {
            lingerTimer = loop.after(configuration.lingerSeconds) { [unowned self] in
                logger.info("leaving: no ports and no clients")
                loop.stop()
            }
        }
    }
}
