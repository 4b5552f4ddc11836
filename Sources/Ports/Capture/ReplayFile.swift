// A capture file in memory, as a port replays it: read as a whole before the first frame goes, so that no
// worker ever waits for a disk.

import CNetmap
import Glibc
public import Netmap
import Synchronization
import Wire

/// The frames of a capture file.
///
/// Constant after `init`; whoever has addresses of it keeps the object.
@safe public final class ReplayFile: @unchecked Sendable {
    // Unchecked: nobody writes after init.

    /// A frame.
    @unsafe struct Entry: BitwiseCopyable {
        var address: UnsafeMutableRawPointer
        /// Nanoseconds since the first frame; never less than before.
        var time: UInt64
        var length: UInt32
    }

    /// Why a file cannot be replayed, as a sentence.
    public struct LoadError: Error, Sendable, Hashable, CustomStringConvertible {
        /// The sentence.
        public let description: String
    }

    /// How many frames there are.
    public let count: Int
    /// Frames that no port takes, because they are too long; left out.
    public let oversized: Int
    /// Frames of which the file has only the beginning; that is what is sent.
    public let shortened: Int
    /// Why the file ends before its last frame does, if so.
    public let truncation: String?
    let entries: UnsafeMutablePointer<Entry>
    /// Nanoseconds from the first frame to the first of the next pass.
    let span: UInt64
    private let memory: UnsafeMutableRawPointer
    private let size: Int

    /// Reads a file; may take as long as the disk does.
    public init(_ path: String) throws(LoadError) {
        do throws(SystemError) {
            // A FIFO would keep us until somebody writes; what it is is asked below.
            let number = unsafe open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
            guard number >= 0 else { throw SystemError("read \(path)", result: -errno) }
            let file = OwnedDescriptor(number)
            unsafe (memory, size) = try ReplayFile.read(file, path)
        } catch {
            throw LoadError(description: error.description)
        }
        // SAFETY (whole init): `memory` has `size` bytes, and a record lies within them.
        var found: [CaptureRecord] = []
        var over = 0
        var short = 0
        var cut: CaptureError?
        do throws(CaptureError) {
            let bytes = unsafe Span<UInt8>(
                _unsafeStart: memory.assumingMemoryBound(to: UInt8.self),
                count: size
            )
            var reader = try CaptureReader(bytes)
            while let record = try reader.next(bytes) {
                if record.length > FrameBatch.maximumFrameLength {
                    over += 1
                } else {
                    if record.length < record.originalLength { short += 1 }
                    found.append(record)
                }
            }
            cut = reader.truncation
        } catch {
            unsafe munmap(memory, max(1, size))
            throw LoadError(description: "\(path): \(error)")
        }
        guard !found.isEmpty else {
            unsafe munmap(memory, max(1, size))
            throw LoadError(
                description: "\(path): there is no frame in it"
                    + (cut.map { " that is whole; \($0)" } ?? "")
            )
        }
        count = found.count
        oversized = over
        shortened = short
        truncation = cut.map { "\($0)" }
        unsafe entries = .allocate(capacity: found.count)
        let start = found.lazy.compactMap(\.time).first ?? 0
        var last: UInt64 = 0
        for (index, record) in found.enumerated() {
            // Clocks of captures go back at times; a frame is never before the one ahead of it.
            if let time = record.time, time > start { last = max(last, time - start) }
            unsafe (entries + index).initialize(
                to: Entry(
                    address: memory + record.offset,
                    time: last,
                    length: UInt32(record.length)
                )
            )
        }
        // The next pass comes as long after the last frame as frames are apart on average.
        span = last + (found.count > 1 ? last / UInt64(found.count - 1) : 0)
    }

    deinit {
        unsafe entries.deallocate()
        unsafe munmap(memory, max(1, size))
    }

    private static func read(
        _ file: OwnedDescriptor,
        _ path: String
    ) throws(SystemError) -> (UnsafeMutableRawPointer, Int) {
        let size = Int(try SystemError.check(nm_file_size(file.number), "read \(path)"))
        guard nm_file_is_stream(file.number) == 0 else {
            throw SystemError("read \(path), which is no plain file", result: -EINVAL)
        }
        // What does not fit is told beforehand, instead of by the kernel's killer.
        let pages = sysconf(Int32(_SC_PHYS_PAGES))
        guard size <= pages * sysconf(Int32(_SC_PAGESIZE)) / 2 else {
            throw SystemError("keep \(path), \(size) bytes, in memory", result: -EFBIG)
        }
        let flags = MAP_PRIVATE | MAP_ANONYMOUS
        // SAFETY: a new mapping of `size` bytes, filled below.
        guard
            let memory = unsafe mmap(nil, max(1, size), PROT_READ | PROT_WRITE, flags, -1, 0),
            unsafe memory != MAP_FAILED
        else { throw SystemError("keep \(path), \(size) bytes, in memory", result: -errno) }
        var done = 0
        while done < size {
            let n = unsafe Glibc.read(file.number, memory + done, size - done)
            if n < 0, errno == EINTR { continue }
            if n < 0 {
                let code = errno
                unsafe munmap(memory, max(1, size))
                throw SystemError("read \(path)", result: -code)
            }
            // Somebody has cut the file short meanwhile; the reader sees that in the zeroes.
            if n == 0 { break }
            done += n
        }
        return unsafe (memory, size)
    }
}

/// Reads a file on a thread of its own.
public final class ReplayLoader: Sendable {
    /// Readable when `result` is there.
    public let notice: OwnedDescriptor
    private let path: String
    private let outcome = Mutex<Result<ReplayFile, ReplayFile.LoadError>?>(nil)

    /// Begins.
    public init(_ path: String) throws(SystemError) {
        self.path = path
        notice = OwnedDescriptor(try SystemError.check(nm_eventfd(), "eventfd"))
        var thread = pthread_t()
        let box = unsafe Unmanaged.passRetained(self)
        // SAFETY: the thread takes over the reference that `passRetained` made.
        let result = unsafe pthread_create(
            &thread,
            nil,
            { argument in
                guard let argument = unsafe argument else { return nil }
                unsafe Unmanaged<ReplayLoader>.fromOpaque(argument).takeRetainedValue().load()
                return nil
            },
            box.toOpaque()
        )
        guard result == 0 else {
            unsafe box.release()
            throw SystemError("pthread_create", result: -result)
        }
        pthread_detach(thread)
    }

    /// The file, or why there is none; nil while it is being read.
    public var result: Result<ReplayFile, ReplayFile.LoadError>? { outcome.withLock { $0 } }

    private func load() {
        let made: Result<ReplayFile, ReplayFile.LoadError>
        do throws(ReplayFile.LoadError) {
            made = .success(try ReplayFile(path))
        } catch {
            made = .failure(error)
        }
        outcome.withLock { $0 = made }
        _ = nm_eventfd_ring(notice.number)
    }
}
