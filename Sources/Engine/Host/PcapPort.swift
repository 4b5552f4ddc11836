// A port that is a capture file: its frames are sent, or what comes is kept in it.

import CNetmap
import Control
import Logging
import Netmap
import Ports
import Wire

/// A replay, or a sink.
@safe final class PcapPort: HostPort {
    private let pcap: PcapOptions
    private var words: ReplayWords?
    private var timer: OwnedDescriptor?
    private var file: ReplayFile?
    private var loader: (ReplayLoader, token: UInt64)?
    private var writer: (CaptureWriter, token: UInt64)?

    /// How long whoever adds the port waits for the disk; a longer file is read on.
    private static let patience: Int64 = 200_000_000

    init(_ options: NetdevOptions, _ pcap: PcapOptions, _ place: PortPlace) {
        self.pcap = pcap
        unsafe super.init(options, pairs: 1, place)
    }

    override func attach() throws {
        switch pcap.mode {
        case .replay(let path, let replay): try load(path, replay)
        case .sink(let path): try sink(path)
        }
    }

    override func detach() {
        if let (loader, token) = loader { loop.unwatch(loader.notice, token) }
        loader = nil
        file = nil
        words = nil
        timer = nil
        guard let (writer, token) = writer else { return }
        loop.unwatch(writer.notice, token)
        writer.stop()
        self.writer = nil
    }

    // MARK: Replay

    private func load(_ path: String, _ replay: PcapOptions.Replay) throws {
        let loader = try ReplayLoader(path)
        var number = loader.notice.number
        _ = unsafe nm_wait_readable(&number, 1, PcapPort.patience)
        if let result = loader.result { return try begin(try result.get(), replay) }
        let token = try loop.watch(loader.notice) { [unowned self] _ in
            guard let (loader, token) = self.loader, let result = loader.result else { return }
            loop.unwatch(loader.notice, token)
            self.loader = nil
            do {
                try begin(try result.get(), replay)
                reason = nil
            } catch {
                reason = "\(error)"
                logger.error("\(error)")
            }
        }
        self.loader = (loader, token)
    }

    private func begin(_ file: ReplayFile, _ replay: PcapOptions.Replay) throws {
        let timer = OwnedDescriptor(try SystemError.check(nm_timer(), "timerfd_create"))
        let words = ReplayWords(isRunning: replay.starts)
        self.file = file
        self.words = words
        self.timer = timer
        let pace: ReplayPace =
            switch replay.rate {
            case .original: .original
            case .maximum: .unlimited
            case .packets(let rate): .packets(rate)
            case .bits(let rate): .bits(rate)
            }
        if let truncation = file.truncation { logger.warning("the file is cut: \(truncation)") }
        unsafe start(
            0,
            source: HostQueue.make(
                ReplaySource(
                    file,
                    pace: pace,
                    passes: replay.loop,
                    words: words,
                    timer: timer.number
                )
            ),
            sink: nil,
            files: [timer]
        )
    }

    /// Whether frames go: begins, goes on, or begins again at the end; or stops.
    func setRunning(_ isRunning: Bool) throws(QMPError) {
        guard case .replay(_, let replay) = pcap.mode else {
            throw QMPError("Port '\(ifname)' is a sink; 'run' is for a replay")
        }
        guard let words, let timer else {
            throw QMPError("Port '\(ifname)' has no frames: \(reason ?? "its file is being read")")
        }
        if isRunning, isDone(replay, words) { words.rewind() }
        words.isRunning = isRunning
        // The worker may sleep without a time to wake at.
        _ = nm_timer_set(timer.number, 1)
    }

    private func isDone(_ replay: PcapOptions.Replay, _ words: ReplayWords) -> Bool {
        replay.loop != 0 && words.passes >= replay.loop
    }

    // MARK: Sink

    private func sink(_ path: String?) throws {
        var made: CaptureWriter?
        if let path {
            var options = CaptureOptions(path: path)
            options.format = path.hasSuffix(".pcap") ? .pcap : .pcapng
            let writer = try CaptureWriter(options)
            _ = writer.addInterface(ifname)
            try writer.start()
            var number = writer.notice.number
            _ = unsafe nm_wait_readable(&number, 1, PcapPort.patience)
            let state = writer.now
            guard !state.hasFailed else {
                throw QMPError(state.reason ?? "cannot write \(path)")
            }
            let token = try loop.watch(writer.notice) { [unowned self] _ in noteWriter() }
            self.writer = (writer, token)
            made = writer
        }
        unsafe start(0, source: nil, sink: HostQueue.make(CaptureSink(made)), files: [])
    }

    private func noteWriter() {
        guard let (writer, _) = writer else { return }
        _ = nm_eventfd_drain(writer.notice.number)
        let state = writer.now
        guard state.phase == .ended, let why = state.reason else { return }
        reason = why
        logger.error("\(why)")
    }

    // MARK: What operators see

    override var isRunning: Bool { super.isRunning && reason == nil }

    override func describe(_ object: inout JSONObject) {
        object["progress"] = progress.map { .string($0) }
        if case .sink = pcap.mode, let (writer, _) = writer {
            object["progress"] = .string("\(writer.now.packets) frames written")
        }
    }

    private var progress: String? {
        guard case .replay(let path, let replay) = pcap.mode else { return nil }
        guard let file, let words else { return reason == nil ? "reading \(path)" : nil }
        let sent = words.sent
        let passes = words.passes
        var text = "\(sent) frames"
        if isDone(replay, words) {
            text = "done: \(sent) frames"
        } else if !words.isRunning {
            text =
                sent == 0 ? "waiting for run=on: \(file.count) frames" : "stopped: \(sent) frames"
        } else {
            text = "\(sent - passes * UInt64(file.count)) of \(file.count) frames"
            if replay.loop != 1 {
                text += ", pass \(passes + 1)" + (replay.loop == 0 ? "" : " of \(replay.loop)")
            }
        }
        if let truncation = file.truncation { text += "; the file is cut at \(truncation)" }
        if file.oversized > 0 { text += "; \(file.oversized) too long to be sent" }
        return text
    }
}
