// From hosts to addresses. Numbers are read here; for names somebody else may have to be asked, which
// another thread waits for.

import CNetmap
import Control
import Netmap

/// Finds the addresses of a host, and calls back on the control thread.
///
/// Control thread only.
@safe final class AddressLookup {
    /// Why there are none.
    struct Failure: Error, CustomStringConvertible { let description: String }

    private static let capacity = 8
    private let loop: EventLoop
    private var resolution: OpaquePointer?
    private var watched: (file: OwnedDescriptor, token: UInt64)?

    init(_ loop: EventLoop) { self.loop = loop }

    deinit { cancel() }

    /// Looks a host up.
    ///
    /// - Parameters:
    ///   - address: the host.
    ///   - isListening: whether addresses to listen on are wanted.
    ///   - done: called once, at once for numbers.
    func find(
        _ address: InetAddress,
        isListening: Bool,
        done: @escaping (Result<[nm_address], Failure>) -> Void
    ) {
        cancel()
        var found = [nm_address](repeating: nm_address(), count: AddressLookup.capacity)
        let family = Int32(address.family)
        let port = Int32(address.port)
        let count = unsafe nm_address_numeric(
            &found,
            Int32(found.count),
            address.host,
            port,
            family,
            isListening ? 1 : 0
        )
        if count > 0 { return done(.success(Array(found.prefix(Int(count))))) }
        guard !address.isNumeric else {
            return done(
                .failure(Failure(description: "'\(address.host)' is not the address of a host"))
            )
        }
        var number: Int32 = -1
        // SAFETY: the thread owns a share of it, and ours is given back in `cancel`.
        let begun = unsafe nm_resolve(address.host, port, family, isListening ? 1 : 0, &number)
        guard let begun = unsafe begun, number >= 0 else {
            return done(.failure(Failure(description: "cannot look '\(address.host)' up")))
        }
        unsafe resolution = begun
        let file = OwnedDescriptor(number)
        do throws(SystemError) {
            let token = try loop.watch(file) { [unowned self] _ in finish(address, done) }
            watched = (file, token)
        } catch {
            done(.failure(Failure(description: "\(error)")))
        }
    }

    private func finish(
        _ address: InetAddress,
        _ done: (Result<[nm_address], Failure>) -> Void
    ) {
        guard let resolution = unsafe resolution else { return }
        var found = [nm_address](repeating: nm_address(), count: AddressLookup.capacity)
        var why = [CChar](repeating: 0, count: 128)
        let count = unsafe nm_resolution_take(
            resolution,
            &found,
            Int32(found.count),
            &why,
            why.count
        )
        cancel()
        if count > 0 { return done(.success(Array(found.prefix(Int(count))))) }
        let text = String(
            decoding: why.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) },
            as: UTF8.self
        )
        done(.failure(Failure(description: "cannot look '\(address.host)' up: \(text)")))
    }

    /// Forgets what is under way.
    func cancel() {
        if let watched { loop.unwatch(watched.file, watched.token) }
        watched = nil
        if let resolution = unsafe resolution { unsafe nm_resolution_drop(resolution) }
        unsafe resolution = nil
    }
}

extension nm_address {
    /// `host:port`; nil if it is no internet address.
    var text: String? {
        var buffer = [CChar](repeating: 0, count: 96)
        var address = self
        guard unsafe nm_address_text(&address, &buffer, buffer.count) > 0 else { return nil }
        return String(
            decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) },
            as: UTF8.self
        )
    }

    /// The address of a unix socket, whose path was checked.
    static func unix(_ path: String) throws(SystemError) -> nm_address {
        var address = nm_address()
        _ = try SystemError.check(unsafe nm_address_unix(&address, path), "name \(path)")
        return address
    }
}
