// Frames that pass ports with dumps: with real workers, several of them, and numbered frames.

import CNetmap
import Glibc
import Netmap
import Ports
import Testing
import Wire

@testable import Engine

private let everybody: UInt64 = 0xffff_ffff_ffff

extension EngineTests {
    @Suite("Dumps", .serialized)
    struct DumpTests {
        /// A dump of two ports, the second of them slow; lossless, or losing frames.
        private func dump(patience: Int?, _ body: (MockSwitch, [MockPort]) -> Void) throws -> (
            file: [UInt8], writer: CaptureWriter, bed: MockSwitch
        ) {
            let path = "/tmp/wirevale-test-\(getpid())-dump.pcapng"
            defer { unsafe unlink(path) }
            let bed = try MockSwitch(workers: 3)
            let ports = [
                try bed.add(), try bed.add(),
                try bed.add(size: 32, buffers: 16, patience: patience),
            ]
            var options = CaptureOptions(path: path)
            options.bufferSize = 32 << 20
            let writer = try CaptureWriter(options)
            for port in ports { #expect(writer.addInterface("vale0:p\(port.number)") != nil) }
            try writer.start()
            while writer.now.phase == .opening { usleep(1000) }
            for port in ports {
                let tap = unsafe DumpTap(
                    ring: writer.ring,
                    wake: writer.wakeNumber,
                    interface: port.number - 1,
                    takesInbound: true,
                    takesOutbound: true
                )
                unsafe nm_store64_release(&port.plane.pointee.taps, DumpTaps.make([tap]))
            }
            body(bed, ports)
            for port in ports {
                let old = unsafe nm_load64(&port.plane.pointee.taps)
                unsafe nm_store64_release(&port.plane.pointee.taps, 0)
                bed.pool.synchronize()
                unsafe DumpTaps.free(old)
            }
            writer.stop()
            while writer.now.phase != .ended { usleep(1000) }
            let file = unsafe fopen(path, "rb")
            var bytes = [UInt8](repeating: 0, count: 16 << 20)
            let count = unsafe fread(&bytes, 1, bytes.count, file)
            unsafe fclose(file)
            return (Array(bytes[..<count]), writer, bed)
        }

        /// Frames of each interface and direction, and how many of those out have a comment.
        private func tally(_ bytes: [UInt8]) throws -> [String: Int] {
            var reader = try CaptureReader(bytes.span)
            var counts: [String: Int] = [:]
            while let record = try reader.next(bytes.span) {
                // Behind the frame: epb_flags, then a comment if it was dropped.
                let options = record.offset + (record.length + 3) & ~3
                let direction = bytes[options + 4] == 1 ? "in" : "out"
                let isDropped = bytes[options + 8] == 1
                counts[
                    "\(record.interface) \(direction)\(isDropped ? " dropped" : "")",
                    default: 0
                ] += 1
            }
            #expect(reader.truncation == nil)
            return counts
        }

        @Test(arguments: [0, nil] as [Int?])
        func `every frame is shown once on its way in and once on its way out`(
            patience: Int?
        ) throws {
            let count = 3000
            let (file, writer, bed) = try dump(patience: patience) { _, ports in
                var next: [UInt32] = [0, 0]
                let end = nm_monotonic_ns() + 60_000_000_000
                func total() -> UInt64 { ports[2].tx.packets + ports[2].tx.dropped }
                while total() < UInt64(2 * count), nm_monotonic_ns() < end {
                    for k in 0..<2 {
                        let to = next[k] % 2 == 0 ? everybody : MockPort.mac(3)
                        while next[k] < count, ports[k].send(next[k], to: to) { next[k] += 1 }
                        _ = ports[k].receive()
                    }
                    _ = ports[2].receive()
                    usleep(patience == nil ? 200 : 20)
                }
            }
            defer { bed.close() }
            #expect(writer.counts.lost == 0 && writer.now.unwritten == 0)
            let counts = try tally(file)
            for port in bed.ports {
                let n = port.number - 1
                #expect(counts["\(n) in", default: 0] == Int(port.rx.packets))
                #expect(counts["\(n) out", default: 0] == Int(port.tx.packets))
                #expect(counts["\(n) out dropped", default: 0] == Int(port.tx.dropped))
            }
            #expect(counts["0 in"] == count && counts["1 in"] == count)
            let lost = Int(bed.ports[2].tx.dropped)
            #expect(patience == nil ? lost > 0 : lost == 0)
            #expect(counts["2 out", default: 0] + lost == 2 * count)
        }
    }
}
