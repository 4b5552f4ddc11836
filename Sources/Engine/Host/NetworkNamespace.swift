// Network namespaces as people name them.

import CNetmap
import Netmap

enum NetworkNamespace {
    /// Opens a namespace: a name of `ip netns`, a path, or the number of a process that is in it.
    static func open(_ text: String) throws(SystemError) -> OwnedDescriptor {
        let path =
            if text.hasPrefix("/") {
                text
            } else if !text.isEmpty, text.utf8.allSatisfy({ (48...57).contains($0) }) {
                "/proc/\(text)/ns/net"
            } else {
                "/run/netns/\(text)"
            }
        return OwnedDescriptor(
            try SystemError.check(
                unsafe nm_open_read(path),
                "open network namespace \(text) (\(path))"
            )
        )
    }
}
