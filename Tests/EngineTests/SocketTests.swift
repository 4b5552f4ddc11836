// The edge of the control plane: socket files, message framing, timers.

import CNetmap
import Glibc
import Netmap
import Testing
import VhostUser

@testable import Engine

@Suite("Sockets")
struct SocketTests {
    @Test func `a path in use is never taken, a stale one is, a file is left alone`() throws {
        let directory = TemporaryDirectory()
        let path = directory.path + "/s"
        let listener = OwnedDescriptor(unsafe nm_unix_listen(path))
        #expect(throws: SocketFile.Taken.self) { try SocketFile.clear(path) }
        withExtendedLifetime(listener) {}
        let stale = directory.path + "/stale"
        _ = OwnedDescriptor(unsafe nm_unix_listen(stale))
        try SocketFile.clear(stale)
        #expect(!directory.entries.contains("stale"))
        let file = directory.path + "/file"
        close(unsafe creat(file, 0o600))
        #expect(throws: SocketFile.Taken.self) { try SocketFile.clear(file) }
        #expect(directory.entries.contains("file"))
    }

    private func pair() -> (OwnedDescriptor, OwnedDescriptor) {
        var numbers: [Int32] = [-1, -1]
        unsafe socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &numbers)
        return (OwnedDescriptor(numbers[0]), OwnedDescriptor(numbers[1]))
    }

    @Test(arguments: 1...19)
    func `messages arrive whole however their bytes are cut`(size: Int) throws {
        let (ours, theirs) = pair()
        let connection = Connection(ours)
        // SET_FEATURES and GET_FEATURES, one after the other.
        let bytes: [UInt8] =
            [2, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]
            + [1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]
        var got: [(UInt32, [UInt8])] = []
        for start in stride(from: 0, to: bytes.count, by: size) {
            let piece = Array(bytes[start..<min(start + size, bytes.count)])
            unsafe nm_send(theirs.number, piece, piece.count, nil, 0)
            while let (header, payload, _) = try connection.next() {
                got.append((header.request, payload))
            }
        }
        #expect(got.map(\.0) == [2, 1])
        #expect(got.first?.1 == [1, 2, 3, 4, 5, 6, 7, 8])
    }

    @Test func `descriptors belong to the message that they came with`() throws {
        let (ours, theirs) = pair()
        let connection = Connection(ours)
        let event = OwnedDescriptor(nm_eventfd())
        let header: [UInt8] = [12, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0]
        unsafe nm_send(theirs.number, header, 12, [event.number], 1)
        let early = try connection.next()
        #expect(early?.0 == nil)
        unsafe nm_send(theirs.number, [0, 0, 0, 0, 0, 0, 0, 0], 8, nil, 0)
        let message = try #require(try connection.next())
        #expect(message.2.count == 1)
        #expect(nm_is_eventfd(message.2[0].number) == 1)
    }

    @Test func `a front-end that leaves between messages is orderly, within one it is not`() throws
    {
        do {
            let (ours, theirs) = pair()
            let connection = Connection(ours)
            shutdown(theirs.number, Int32(SHUT_RDWR))
            _ = try connection.next()
            Issue.record("no end seen")
        } catch let ended as Connection.Ended {
            #expect(ended.isOrderly)
        }
        do {
            let (ours, theirs) = pair()
            let connection = Connection(ours)
            unsafe nm_send(theirs.number, [1, 0, 0], 3, nil, 0)
            _ = try connection.next()
            shutdown(theirs.number, Int32(SHUT_RDWR))
            _ = try connection.next()
            Issue.record("no end seen")
        } catch let ended as Connection.Ended {
            #expect(!ended.isOrderly)
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `a front-end that never reads is let go, and nobody waits for it`() throws {
        let (ours, theirs) = pair()
        _ = nm_set_nonblocking(ours.number)
        let connection = Connection(ours)
        let reply = [UInt8](repeating: 0, count: 4096)
        #expect(throws: Connection.Ended.self) {
            for _ in 0..<10_000 { try connection.send(reply) }
        }
        withExtendedLifetime(theirs) {}
    }

    @Test func `timers fire in order, once, and not when cancelled`() throws {
        let loop = try EventLoop()
        var fired: [Int] = []
        loop.after(0.2) { fired.append(2) }
        loop.after(0.1) { fired.append(1) }
        let cancelled = loop.after(0.15) { fired.append(9) }
        loop.cancel(cancelled)
        loop.after(0.3) { loop.stop() }
        loop.run()
        #expect(fired == [1, 2])
    }
}
