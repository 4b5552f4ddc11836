// systemd's readiness protocol (sd_notify(3)), for which no library is needed.

import CNetmap
import Glibc

/// Tells the service manager, if there is one, how the engine is doing.
enum ServiceManager {
    static func notify(_ message: String) {
        // SAFETY: getenv's string is used before anything could change the environment.
        guard let path = unsafe getenv("NOTIFY_SOCKET") else { return }
        _ = unsafe nm_notify_datagram(path, message)
    }
}
