// Frames, as a receiving driver puts them together.

extension MockDriver {
    /// A frame as a receiving driver puts it together.
    struct Received: Equatable {
        var header: [UInt8]
        var frame: [UInt8]
        var buffers: Int
        /// Whether every buffer but the last was filled to its end, and the header fitted the first.
        var isWellFormed: Bool
    }

    /// Takes used chains back as frames; with mergeable buffers num_buffers says how many make one.
    func pollFrames() -> [Received] {
        var frames: [Received] = []
        let used = poll()
        var next = 0
        while next < used.count {
            let first = used[next]
            let header = read(first.pieces, headerLength)
            let count =
                mergeable && headerLength == 12
                ? max(1, Int(header[10]) | Int(header[11]) << 8) : 1
            var bytes: [UInt8] = []
            var wellFormed = first.length >= headerLength && next + count <= used.count
            for (k, chain) in used[next..<min(next + count, used.count)].enumerated() {
                bytes += read(chain.pieces, chain.length)
                let room = chain.pieces.reduce(0) { $0 + $1.length }
                wellFormed = wellFormed && chain.length <= room
                if k + 1 < count { wellFormed = wellFormed && chain.length == room }
            }
            frames.append(
                Received(
                    header: Array(bytes.prefix(headerLength)),
                    frame: Array(bytes.dropFirst(headerLength)),
                    buffers: count,
                    isWellFormed: wellFormed
                )
            )
            next += count
        }
        return frames
    }
}
