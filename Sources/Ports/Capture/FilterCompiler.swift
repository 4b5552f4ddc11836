// tcpdump's filter expressions, compiled by the library that tcpdump has them from. It is looked for
// when the first filter comes, so that an engine without it lacks filters and nothing else.

public import CNetmap
import Glibc

/// Has libpcap compile filter expressions.
public enum FilterCompiler {
    /// Why an expression is no filter, as a sentence.
    public struct FilterError: Error, Sendable, Hashable, CustomStringConvertible {
        /// The sentence.
        public let description: String
    }

    // Signatures of libpcap's functions (pcap_compile(3PCAP) and others).
    private typealias OpenDead = @convention(c) (Int32, Int32) -> OpaquePointer?
    private typealias Compile =
        @convention(c) (
            OpaquePointer, UnsafeMutablePointer<nm_bpf_program>, UnsafePointer<CChar>, Int32, UInt32
        ) -> Int32
    private typealias ErrorText = @convention(c) (OpaquePointer) -> UnsafePointer<CChar>?
    private typealias FreeCode = @convention(c) (UnsafeMutablePointer<nm_bpf_program>) -> Void
    private typealias Close = @convention(c) (OpaquePointer) -> Void

    /// Compiles an expression for Ethernet frames.
    ///
    /// May wait for a name server; never called by the control thread or a worker.
    public static func compile(
        _ expression: String,
        library name: String = "libpcap.so.0.8"
    ) throws(FilterError) -> [sock_filter] {
        guard let library = unsafe dlopen(name, RTLD_NOW | RTLD_LOCAL) else {
            throw FilterError(
                description: "a filter needs \(name), which is not there; on Debian: "
                    + "apt-get install libpcap0.8"
            )
        }
        // SAFETY (whole function): the library stays loaded, and the signatures are those of its manual.
        guard let openDead = unsafe dlsym(library, "pcap_open_dead"),
            let compile = unsafe dlsym(library, "pcap_compile"),
            let errorText = unsafe dlsym(library, "pcap_geterr"),
            let freeCode = unsafe dlsym(library, "pcap_freecode"),
            let close = unsafe dlsym(library, "pcap_close")
        else { throw FilterError(description: "\(name) is no libpcap: functions are missing") }
        let ethernet: Int32 = 1
        guard
            let handle = unsafe unsafeBitCast(openDead, to: OpenDead.self)(
                ethernet,
                262_144
            )
        else { throw FilterError(description: "\(name) has no memory") }
        defer { unsafe unsafeBitCast(close, to: Close.self)(handle) }
        var program = unsafe nm_bpf_program()
        let unknownNetmask: UInt32 = .max
        let result = unsafe unsafeBitCast(compile, to: Compile.self)(
            handle,
            &program,
            expression,
            1,
            unknownNetmask
        )
        guard result == 0 else {
            let text = unsafe unsafeBitCast(errorText, to: ErrorText.self)(handle)
            let reason = unsafe text.map { unsafe String(cString: $0) } ?? "unknown error"
            throw FilterError(description: "filter '\(expression)': \(reason)")
        }
        defer { unsafe unsafeBitCast(freeCode, to: FreeCode.self)(&program) }
        guard let first = unsafe program.instructions else { return [] }
        return unsafe Array(UnsafeBufferPointer(start: first, count: Int(program.count)))
    }
}
